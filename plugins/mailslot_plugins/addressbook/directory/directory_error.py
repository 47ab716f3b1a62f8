"""The error of a directory."""

from __future__ import annotations

from mailslot.errors import MailError


class DirectoryError(MailError):
    """A directory does not respond or refuses, or its settings cannot be used."""
