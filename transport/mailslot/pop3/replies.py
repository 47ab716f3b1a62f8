"""Status lines (RFC 1939 section 3, RFC 2449 section 8)."""

from __future__ import annotations

import re
from typing import Final

from mailslot.wire.peer_detection import not_a_reply, undecided
from mailslot.wire.reply import Reply, printable

_STATUS: Final = re.compile(rb"(\+OK|-ERR)(?![A-Za-z0-9])[ \t]*(.*)", re.DOTALL)
_CHALLENGE: Final = re.compile(rb"\+(?: (.*))?", re.DOTALL)
_BEGINNING: Final = re.compile(
    rb"(?:\+(?: .*|O(?:K(?:[^A-Za-z0-9].*)?)?|\r)?|-(?:E(?:R(?:R(?:[^A-Za-z0-9].*)?)?)?)?)?", re.DOTALL
)
_CODE: Final = re.compile(r"\[([!-Z\\^-~]{1,64})\] ?")


def parse_status(line: bytes) -> Reply:
    """Return the reply in a status line; the response code only where it explains a refusal.

    Raises:
        RemoteProtocolError: it is no status line.
    """
    match = _STATUS.fullmatch(line)
    if match is None:
        raise not_a_reply(line)
    positive = match[1] == b"+OK"
    text = printable(match[2].decode("utf-8", "backslashreplace"))
    code = None if positive else _CODE.match(text)
    if code is None:
        return Reply(None, None, text, positive)
    return Reply(None, code[1].upper(), text[code.end() :], positive)


def parse_challenge(line: bytes) -> str | None:
    """Return a challenge's base64 (RFC 5034 section 4), or None where the line is no challenge."""
    match = _CHALLENGE.fullmatch(line)
    return None if match is None else (match[1] or b"").decode("utf-8", "backslashreplace")


def check_beginning(octets: bytes) -> None:
    """Tell at once what can never become a status line or challenge; its end might not come.

    Raises:
        RemoteProtocolError: this cannot.
    """
    if not _BEGINNING.fullmatch(octets) and not undecided(octets):
        raise not_a_reply(octets)
