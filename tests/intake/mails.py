"""Mails taken apart in this process, for what is asked of them afterwards."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from mailslot_plugins.intake.limits import Limits
from mailslot_plugins.intake.mail import OpenedMail, as_opened
from mailslot_plugins.intake.mime import open_mail


def opened(octets: bytes) -> OpenedMail:
    """A mail; its parts are gone."""
    with TemporaryDirectory() as name, chdir(name):
        folder = Path(name)
        (folder / "mail").write_bytes(octets)
        return as_opened(open_mail({"path": str(folder / "mail")}, Limits()), folder)
