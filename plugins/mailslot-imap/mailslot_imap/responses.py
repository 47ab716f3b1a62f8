"""What a server's answers say (RFC 9051 section 7)."""

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

# RFC 5530 and RFC 3206 say the same in other words; what the library asks of a refusal, it asks in those of POP3.
_SAME: Final = {"UNAVAILABLE": "SYS/TEMP", "INUSE": "IN-USE"}


def reply_of(result: str, text: str) -> Reply:
    """Return a tagged answer as the library knows replies.

    Args:
        result: ``OK``, ``NO`` or ``BAD``.
        text: what follows it.
    """
    code, words = None, text
    if match := _CODE.fullmatch(text):
        code, words = match[1].upper(), match[3]
    return Reply(None, _SAME.get(code or "", code), printable(words), positive=result == "OK")


def capabilities_in(text: bytes) -> frozenset[str] | None:
    """Return what a CAPABILITY answer, or the code of another one, lists; None where it is none."""
    match = re.search(rb"(?:^|\[)CAPABILITY ([^\]]*)", text, re.IGNORECASE)
    return frozenset(match[1].decode("ascii", "replace").upper().split()) if match else None


def entry_in(line: bytes) -> tuple[int, int] | None:
    """Return UID and size in a FETCH answer; None where it tells something else, as it may at any time."""
    if not is_fetch(line) or (uid := _UID.search(line)) is None or (size := _SIZE.search(line)) is None:
        return None
    return int(uid[1]), int(size[1])


def uid_in(line: bytes) -> int | None:
    """Return the UID that a FETCH answer names; None where it names none."""
    match = _UID.search(line)
    return int(match[1]) if match else None


def is_fetch(line: bytes) -> bool:
    """Tell whether a line begins a FETCH answer."""
    return _FETCH.match(line) is not None


def exists_in(line: bytes) -> int | None:
    """Return how many mails a line says there are; None where it says something else."""
    match = _EXISTS.fullmatch(line)
    return int(match[1]) if match else None


def validity_in(lines: list[bytes]) -> str:
    """Return the UIDVALIDITY in the answer to SELECT; empty where UIDs do not last (RFC 9051 section 2.3.1.1)."""
    if any(_STICKY.match(line) for line in lines):
        return ""
    found = [match[1].decode() for line in lines if (match := _VALIDITY.match(line))]
    return found[-1] if found else ""
