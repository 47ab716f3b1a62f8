"""Parses replies that are written on one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.pop3.replies import parse_status
from mailslot.smtp.replies import ReplyParser
from mailslot_imap.responses import reply_of

if TYPE_CHECKING:
    from mailslot.causes.refusal import Protocol
    from mailslot.wire.reply import Reply


def parse_reply(protocol: Protocol, line: str) -> Reply:
    """Return the reply in a line, such as ``550 5.1.1 No such user``, ``-ERR [AUTH] No`` or ``NO [LIMIT] No``."""
    if protocol == "POP3":
        return parse_status(line.encode())
    if protocol == "IMAP":
        result, _, text = line.partition(" ")
        return reply_of(result, text)
    parser = ReplyParser()
    parser.feed(line.encode() + b"\r\n")
    reply = parser.next()
    assert reply is not None
    return reply
