"""The error of a directory."""

from __future__ import annotations

from mailslot.errors import MailError


class DirectoryError(MailError):
    """A directory does not answer, or refuses to, or its settings cannot be used."""
