"""Parsing replies (RFC 5321 section 4.2, RFC 2034)."""

from __future__ import annotations

import re
from typing import Final

from mailslot.smtp.limits import MAX_REPLY, MAX_REPLY_LINE, MAX_REPLY_LINES
from mailslot.wire.lines import LineBuffer
from mailslot.wire.peer_detection import may_be_other_protocol, not_a_reply_error
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot.wire.reply import Reply, printable

_MAX_KNOWN: Final = 64
"""Lines that are remembered."""

_MAX_KNOWN_LINE: Final = 512
"""Octets of such a line, at most (RFC 5321 section 4.5.3.1.5)."""

_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_REPLY_PREFIX: Final = re.compile(rb"(?:[2-5](?:[0-9](?:[0-9](?:[ \r-].*)?)?)?)?", re.DOTALL)
_ENHANCED: Final = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: +(.*)|$)")


class ReplyParser(LineBuffer):
    """Parses complete replies.

    Only the codes matter to it; the text is for people (RFC 5321 section 4.2). A server replies with the same lines to
    every message, so a line that was a whole reply before is not parsed again.

    Attributes:
        unread: the received octets that are not part of a returned reply yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self._code: int | None = None
        self._texts: list[str] = []
        self._octets = 0
        self._known: dict[bytes, Reply] = {}

    def next(self) -> Reply | None:
        """Return the next complete reply; None if more octets are needed.

        Raises:
            RemoteProtocolError: the octets are not a reply, or exceed the limits.
        """
        while (line := self.next_line(MAX_REPLY_LINE)) is not None:
            if not self._texts and (reply := self._known.get(line)) is not None:
                return reply
            match = _LINE.fullmatch(line)
            if match is None:
                raise not_a_reply_error(line)
            code = int(match[1])
            if self._code not in {None, code}:
                raise RemoteProtocolError(f"the codes {self._code} and {code} within one reply")
            text = _decode_text(match[3])
            if match[2] != b"-":
                return self._complete(line, code, text)
            self._code = code
            self._texts.append(text)
            self._octets += len(line) + 2
            self.unread += len(line) + 2
            if len(self._texts) >= MAX_REPLY_LINES or self._octets > MAX_REPLY:
                raise RemoteProtocolError("a reply without end")
        self._check_beginning()
        return None

    def peek_known(self) -> list[Reply]:
        """Return the replies in the buffer, without removing them, if all are complete and came before; else none."""
        *lines, rest = bytes(self._data[self._start :]).split(b"\r\n")
        try:
            return [] if rest or self._texts else list(map(self._known.__getitem__, lines))
        except KeyError:
            return []

    def _complete(self, line: bytes, code: int, text: str) -> Reply:
        """Return the reply that ends with `line`."""
        if self._texts:
            reply = _make_reply(code, *self._texts, text)
            self.unread -= self._octets
            self._code, self._texts, self._octets = None, [], 0
            return reply
        reply = _make_reply(code, text)
        if len(line) <= _MAX_KNOWN_LINE:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[line] = reply
        return reply

    def _check_beginning(self) -> None:
        """Fail at once on what cannot become a reply, since the end of the line may never come."""
        if self.unread > self._octets and not (
            _REPLY_PREFIX.fullmatch(beginning := self.peek(40)) or may_be_other_protocol(beginning)
        ):
            raise not_a_reply_error(beginning)


def parse_reply_line(line: bytes) -> Reply | None:
    """Return the reply in a line, which may be the first of several; None if it is not a reply."""
    match = _LINE.fullmatch(line)
    return None if match is None else _make_reply(int(match[1]), _decode_text(match[3]))


def _decode_text(octets: bytes | None) -> str:
    text = (octets or b"").decode("utf-8", "backslashreplace")
    return text if text.isprintable() else printable(text)


def _make_reply(code: int, text: str, *others: str) -> Reply:
    enhanced = None
    match = _ENHANCED.match(text)
    if match and match[1][0] == str(code)[0]:
        enhanced, text = match[1], match[2] or ""
    if others:
        text = "\n".join([text, *(_strip_enhanced(other, enhanced) for other in others)])
    return Reply(code, enhanced, text, code < 400)


def _strip_enhanced(text: str, enhanced: str | None) -> str:
    return text[len(enhanced) :].lstrip(" ") if enhanced and text.startswith(enhanced) else text
