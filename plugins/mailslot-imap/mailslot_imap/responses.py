"""Parsing responses (RFC 9051 section 7)."""

from __future__ import annotations

import re
from typing import Final

from mailslot.wire.reply import Reply, printable

_CODE: Final = re.compile(r"\[([A-Z0-9./-]+)(?: ([^\]]*))?\] ?(.*)", re.DOTALL | re.IGNORECASE)
_UID: Final = re.compile(rb"[( ]UID ([0-9]{1,10})[) ]", re.IGNORECASE)
_SIZE: Final = re.compile(rb"[( ]RFC822\.SIZE ([0-9]{1,15})[) ]", re.IGNORECASE)
_FETCH: Final = re.compile(rb"([0-9]{1,10}) FETCH \(", re.IGNORECASE)
_EXISTS: Final = re.compile(rb"([0-9]{1,10}) EXISTS", re.IGNORECASE)
_VALIDITY: Final = re.compile(rb"OK \[UIDVALIDITY ([0-9]{1,10})\]", re.IGNORECASE)
_STICKY: Final = re.compile(rb"(OK|NO) \[UIDNOTSTICKY\]", re.IGNORECASE)

# Response codes of RFC 5530 with the same meaning as those of POP3 (RFC 3206), which the library uses.
_POP3_CODES: Final = {"UNAVAILABLE": "SYS/TEMP", "INUSE": "IN-USE"}


def reply_of(result: str, text: str) -> Reply:
    """Return a tagged response as a `Reply`.

    Args:
        result: ``OK``, ``NO`` or ``BAD``.
        text: the text after it.
    """
    code, message = None, text
    if match := _CODE.fullmatch(text):
        code, message = match[1].upper(), match[3]
    return Reply(None, _POP3_CODES.get(code or "", code), printable(message), positive=result == "OK")


def parse_capabilities(text: bytes) -> frozenset[str] | None:
    """Return the capabilities in a CAPABILITY response or response code; None if it is neither."""
    match = re.search(rb"(?:^|\[)CAPABILITY ([^\]]*)", text, re.IGNORECASE)
    return frozenset(match[1].decode("ascii", "replace").upper().split()) if match else None


def parse_uid_and_size(line: bytes) -> tuple[int, int] | None:
    """Return UID and size in a FETCH response; None for other responses, which may come at any time."""
    if not is_fetch(line) or (uid := _UID.search(line)) is None or (size := _SIZE.search(line)) is None:
        return None
    return int(uid[1]), int(size[1])


def parse_uid(line: bytes) -> int | None:
    """Return the UID in a FETCH response; None if it has none."""
    match = _UID.search(line)
    return int(match[1]) if match else None


def is_fetch(line: bytes) -> bool:
    """Tell whether a line begins a FETCH response."""
    return _FETCH.match(line) is not None


def parse_exists(line: bytes) -> int | None:
    """Return the number of mails in an EXISTS response; None for other responses."""
    match = _EXISTS.fullmatch(line)
    return int(match[1]) if match else None


def parse_uid_validity(lines: list[bytes]) -> str:
    """Return the UIDVALIDITY in the responses to SELECT; empty if UIDs do not persist (RFC 9051 section 2.3.1.1)."""
    if any(_STICKY.match(line) for line in lines):
        return ""
    found = [match[1].decode() for line in lines if (match := _VALIDITY.match(line))]
    return found[-1] if found else ""
