"""A poll by IMAP killed at any step: no mail is lost, and none is handled twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from maildrops import imap_crash
from maildrops.imap_device import ALICE, open_imap_device
from service.polling_device import RECORD

if TYPE_CHECKING:
    import trustme

    from lab.dovecot import Dovecot
    from lab.provider import Provider


def test_killed_at_every_step(tmp_path: Path, dovecot: Dovecot, provider: Provider, ca: trustme.CA) -> None:
    imap_device = open_imap_device(tmp_path, dovecot, provider, ca, record=RECORD, timeout=300)
    (tmp_path / imap_crash.MAILDIR).write_text(str(dovecot.maildir(ALICE)))
    file = Path(imap_crash.__file__)
    ended = subprocess.run(
        [sys.executable, str(file), str(imap_device.home)],
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONPATH": str(file.parents[1])},
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
