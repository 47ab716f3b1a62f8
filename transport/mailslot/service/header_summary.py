"""Summaries of mail headers: sender, subject and date, for people and logs. They are not to be trusted.

Anybody can write a header, so only its first octets are read, and each field is shortened before it is decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MAX_OCTETS: Final = 65_536
_MAX_FIELD: Final = 2_000
_MAX_TEXT: Final = 120
_END: Final = re.compile(rb"\r?\n\r?\n")
_WORD: Final = r"=\?[!->@-~]{1,60}\?[bBqQ]\?[^?]*\?="
_WORDS: Final = re.compile(rf"{_WORD}(?:\s*{_WORD})*")
_FOLD: Final = re.compile(rb"\r?\n(?=[ \t])")


@dataclass(frozen=True, slots=True)
class HeaderSummary:
    """The summary of a header.

    Attributes:
        sender: the decoded From field on one line; empty without one.
        subject: the decoded Subject field on one line; empty without one.
        received_at: when the last server received the mail, else its Date, in seconds since 1970; None if neither can
            be parsed.
    """

    sender: str
    subject: str
    received_at: float | None

    def __str__(self) -> str:
        return f"from {self.sender or 'nobody'}, subject {self.subject or 'none'}"


def summarize_header(octets: bytes) -> HeaderSummary:
    """Summarize the first octets of a mail."""
    fields = _first_fields(octets)
    came_at = _timestamp(_text(fields.get(b"received", b"")).rpartition(";")[2])
    return HeaderSummary(
        sender=_decoded(_text(fields.get(b"from", b""))),
        subject=_decoded(_text(fields.get(b"subject", b""))),
        received_at=_timestamp(_text(fields.get(b"date", b""))) if came_at is None else came_at,
    )


def summarize_subject(octets: bytes) -> str:
    """Return only the subject of `summarize_header`."""
    return _decoded(_text(_first_fields(octets).get(b"subject", b"")))


def summarize_header_of(path: Path) -> HeaderSummary:
    """Summarize a mail in a file; the summary is empty if the file cannot be read. It blocks."""
    try:
        with path.open("rb") as file:
            return summarize_header(file.read(MAX_OCTETS))
    except OSError:
        return summarize_header(b"")


def _first_fields(octets: bytes) -> dict[bytes, bytes]:
    """Return the first field of each name, in lower case; unfolded, and cut."""
    header = _END.split(octets[:MAX_OCTETS], maxsplit=1)[0]
    fields: dict[bytes, bytes] = {}
    for line in _FOLD.sub(b"", header).splitlines():
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip()[:_MAX_FIELD])
    return fields


def _text(octets: bytes) -> str:
    """Decode raw octets as UTF-8 if valid, else as Windows-1252, which old programs write."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")


def _decoded(value: str) -> str:
    text = _WORDS.sub(_word_text, value)
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= _MAX_TEXT else f"{line[: _MAX_TEXT - 1]}…"


def _word_text(words: re.Match[str]) -> str:
    """Return the decoded text of adjacent encoded words; the words themselves if they cannot be decoded."""
    try:
        return str(make_header(decode_header(words[0])))
    except (HeaderParseError, LookupError, ValueError):
        return words[0]


def _timestamp(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text.strip())
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
