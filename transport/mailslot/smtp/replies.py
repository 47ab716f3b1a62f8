"""Parsing replies (RFC 5321 section 4.2, RFC 2034)."""

from __future__ import annotations

import re
from functools import lru_cache
from operator import itemgetter
from typing import Final

from mailslot.smtp.limits import MAX_REPLY, MAX_REPLY_LINE, MAX_REPLY_LINES
from mailslot.wire.lines import LineBuffer
from mailslot.wire.peer_detection import may_be_other_protocol, not_a_reply_error
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot.wire.reply import Reply, printable

_MAX_REMEMBERED: Final = 8
"""Lines that are remembered, of at most `MAX_REPLY_LINE` octets each."""

# Code, enhanced code of the same class, and text.
_LINE: Final = re.compile(r"(([2-5])[0-9]{2})(?:[ -](?:((?!3)\2\.[0-9]{1,3}\.[0-9]{1,3})(?: +|\Z))?(.*))?", re.DOTALL)
_SEPARATOR: Final = itemgetter(slice(3, 4))
_REPLY_PREFIX: Final = re.compile(rb"(?:[2-5](?:[0-9](?:[0-9](?:[ \r-].*)?)?)?)?", re.DOTALL)


class ReplyParser(LineBuffer):
    """Parses complete replies.

    Only the codes matter to it; the text is for people (RFC 5321 section 4.2). A server replies with the same lines to
    every message, so the last lines are remembered, and not parsed again.

    Attributes:
        unread: the received octets that are not part of a returned reply yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[Reply] = []
        self._octets = 0
        self._parse_line = lru_cache(_MAX_REMEMBERED)(parse_reply_line)

    def next(self) -> Reply | None:
        """Return the next complete reply; None if more octets are needed.

        Raises:
            RemoteProtocolError: the octets are not a reply, or exceed the limits.
        """
        while (line := self.next_line(MAX_REPLY_LINE)) is not None:
            reply = self._parse_line(line)
            if reply is None:
                raise not_a_reply_error(line)
            is_last = _SEPARATOR(line) != b"-"
            if is_last and not self._lines:
                return reply
            if self._lines and reply.code != self._lines[0].code:
                raise RemoteProtocolError(f"the codes {self._lines[0].code} and {reply.code} within one reply")
            self._lines.append(reply)
            if is_last:
                reply = _join(*self._lines)
                self.unread -= self._octets
                self._lines, self._octets = [], 0
                return reply
            self._octets += len(line) + 2
            self.unread += len(line) + 2
            if len(self._lines) >= MAX_REPLY_LINES or self._octets > MAX_REPLY:
                raise RemoteProtocolError("a reply without end")
        self._check_beginning()
        return None

    def peek_all(self) -> list[Reply | None]:
        """Return the replies in the buffer, without removing them, if each has one line and all are complete.

        Returns:
            for each line its reply, or None if it is not a reply; nothing if there are other octets.
        """
        *lines, rest = bytes(self._data[self._start :]).split(b"\r\n")
        if rest or self._lines or self.unread > MAX_REPLY_LINE or b"-" in map(_SEPARATOR, lines):
            return []
        return list(map(self._parse_line, lines))

    def _check_beginning(self) -> None:
        """Fail at once on what cannot become a reply, since the end of the line may never come."""
        if self.unread > self._octets and not (
            _REPLY_PREFIX.fullmatch(beginning := self.peek(40)) or may_be_other_protocol(beginning)
        ):
            raise not_a_reply_error(beginning)


def parse_reply_line(line: bytes) -> Reply | None:
    """Return the reply in a line, which may be the first of several; None if it is not a reply."""
    if b"\n" in line:
        return None
    text = str(line, "utf-8", "backslashreplace")
    match = _LINE.fullmatch(text if text.isprintable() else printable(text))
    return None if match is None else Reply(int(match[1]), match[3], match[4] or "", match[1] < "400")


def _join(first: Reply, *others: Reply) -> Reply:
    """Return one reply of several lines; most servers repeat the enhanced code in each."""
    text = first.text
    for other in others:
        repeated = other.enhanced is None or other.enhanced == first.enhanced
        text += "\n" + (other.text if repeated else f"{other.enhanced} {other.text}".rstrip())
    return Reply(first.code, first.enhanced, text, first.positive)
