"""Certificates are read by a process that ends, and by this one where that cannot be started."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mailslot.net.certificate_contents import read_certificate

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
