"""Parsing status lines (RFC 1939 section 3, RFC 2449 section 8)."""

from __future__ import annotations

import re
from typing import Final

from mailslot.wire.peer_detection import may_be_other_protocol, not_a_reply_error
from mailslot.wire.reply import Reply, printable

_STATUS: Final = re.compile(rb"(\+OK|-ERR)(?![A-Za-z0-9])[ \t]*(.*)", re.DOTALL)
_CHALLENGE: Final = re.compile(rb"\+(?: (.*))?", re.DOTALL)
_REPLY_PREFIX: Final = re.compile(
    rb"(?:\+(?: .*|O(?:K(?:[^A-Za-z0-9].*)?)?|\r)?|-(?:E(?:R(?:R(?:[^A-Za-z0-9].*)?)?)?)?)?", re.DOTALL
)
_RESPONSE_CODE: Final = re.compile(r"\[([!-Z\\^-~]{1,64})\] ?")


def parse_status(line: bytes) -> Reply:
    """Return the response in a status line, with its response code if it is a refusal.

    Raises:
        RemoteProtocolError: it is not a status line.
    """
    match = _STATUS.fullmatch(line)
    if match is None:
        raise not_a_reply_error(line)
    positive = match[1] == b"+OK"
    text = printable(match[2].decode("utf-8", "backslashreplace"))
    code = None if positive else _RESPONSE_CODE.match(text)
    if code is None:
        return Reply(None, None, text, positive)
    return Reply(None, code[1].upper(), text[code.end() :], positive)


def parse_challenge(line: bytes) -> str | None:
    """Return the base64 of a challenge (RFC 5034 section 4); None if the line is not a challenge."""
    match = _CHALLENGE.fullmatch(line)
    return None if match is None else (match[1] or b"").decode("utf-8", "backslashreplace")


def check_reply_prefix(octets: bytes) -> None:
    """Check that octets can become a status line or challenge, since the end of the line may never come.

    Raises:
        RemoteProtocolError: they cannot.
    """
    if not _REPLY_PREFIX.fullmatch(octets) and not may_be_other_protocol(octets):
        raise not_a_reply_error(octets)
