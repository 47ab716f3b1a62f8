"""The digest by which a mail is recognized when it is fetched again."""

from __future__ import annotations

import hashlib
import re
from typing import Final

MAX_HEADER: Final = 262_144
"""Octets after which a header is hashed unchanged."""

# Fields that mail stores add to stored messages and change later: those of mbox and Mozilla.
_VOLATILE: Final = re.compile(
    rb"^(?:status|x-status|x-uidl?|x-keywords|x-imap|x-imapbase|x-mozilla-[^:\n]*)[ \t]*:"
    rb"[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER_END: Final = re.compile(rb"(?:\A|\n)\r?\n")


class MailDigest:
    """The SHA-256 of a mail without the fields that mail stores change."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._header: bytearray | None = bytearray()

    def update(self, data: bytes) -> None:
        """Add octets."""
        if self._header is None:
            self._hash.update(data)
            return
        searched = max(len(self._header) - 2, 0)
        self._header += data
        end = _HEADER_END.search(self._header, searched)
        if end is not None:
            self._end_header(end.end())
        elif len(self._header) > MAX_HEADER:
            self._end_header(0)

    def hexdigest(self) -> str:
        """Return the digest."""
        if self._header is not None:
            self._end_header(len(self._header))
        return self._hash.hexdigest()

    def _end_header(self, end: int) -> None:
        assert self._header is not None  # noqa: S101 - called once
        header = bytes(self._header)
        self._header = None
        self._hash.update(_VOLATILE.sub(b"", header[:end]))
        self._hash.update(header[end:])
