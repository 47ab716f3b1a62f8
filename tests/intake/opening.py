"""Opens mails in this process, for tests."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from mailslot_plugins.intake.limits import Limits
from mailslot_plugins.intake.mail import OpenedMail, opened_mail_from_json
from mailslot_plugins.intake.mime import read_mail


def open_mail(octets: bytes) -> OpenedMail:
    """Return an opened mail; the files of its parts are deleted."""
    with TemporaryDirectory() as name, chdir(name):
        folder = Path(name)
        (folder / "mail").write_bytes(octets)
        return opened_mail_from_json(read_mail({"path": str(folder / "mail")}, Limits()), folder)
