"""Certificates are made and read by a process that ends, and by this one where that cannot be started."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mailslot.net.certificate_contents import read_certificate
from mailslot.net.certificates import NAMES

if TYPE_CHECKING:
    from pathlib import Path

    from trustme import CA

PROGRAM = """
import sys
from pathlib import Path
from mailslot.net.certificate_contents import read_certificates
sys.executable = sys.argv[1]
found = read_certificates([Path(path) for path in sys.argv[2:]])
print("cryptography" in sys.modules, found)
"""


@pytest.mark.parametrize(("executable", "loaded"), [(sys.executable, False), ("/nowhere", True)])
def test_the_same_is_read(ca: CA, tmp_path: Path, executable: str, loaded: bool) -> None:
    names = ("certificate", "broken", "missing")
    paths = [tmp_path / name for name in names]
    ca.issue_cert("scan.example.com", "fax.example.com").cert_chain_pems[0].write_to_path(paths[0])
    paths[1].write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    expected = list(map(read_certificate, paths))
    assert [each is None for each in expected] == [False, True, True]
    command = [sys.executable, "-P", "-c", PROGRAM, executable, *paths]
    output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert output == f"{loaded} {expected}\n"


MAKING = """
import ssl, sys
from pathlib import Path
from mailslot.net.certificates import ensure_certificates
from mailslot.net.server_tls import server_context
sys.executable = sys.argv[1]
server_context(ensure_certificates(Path(sys.argv[2]), ["scan.example.com"]))
print("cryptography" in sys.modules)
"""


@pytest.mark.parametrize(("executable", "loaded"), [(sys.executable, False), ("/nowhere", True)])
def test_they_are_made(tmp_path: Path, executable: str, loaded: bool) -> None:
    command = [sys.executable, "-P", "-c", MAKING, executable, str(tmp_path)]
    outputs = [subprocess.run(command, capture_output=True, check=True, text=True).stdout for _ in range(2)]
    assert outputs == [f"{loaded}\n", "False\n"], "made once"
    contents = [read_certificate(tmp_path / name) for name in NAMES]
    assert [each and each.names for each in contents] == [("scan.example.com",)] * 2
