"""Parsing replies (RFC 5321 section 4.2, RFC 2034)."""

from __future__ import annotations

import re
from typing import Final

from mailslot.smtp.limits import MAX_REPLY, MAX_REPLY_LINE, MAX_REPLY_LINES
from mailslot.wire.lines import LineBuffer
from mailslot.wire.peer_detection import may_be_other_protocol, not_a_reply_error
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot.wire.reply import Reply, printable

_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_REPLY_PREFIX: Final = re.compile(rb"(?:[2-5](?:[0-9](?:[0-9](?:[ \r-].*)?)?)?)?", re.DOTALL)
_ENHANCED: Final = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)")


class ReplyParser:
    """Parses complete replies.

    Only the codes matter to it; the text is for people (RFC 5321 section 4.2).
    """

    def __init__(self) -> None:
        self._buffer = LineBuffer()
        self._code: int | None = None
        self._texts: list[str] = []
        self._octets = 0

    def __len__(self) -> int:
        """The received octets that are not part of a returned reply yet."""
        return len(self._buffer) + self._octets

    def feed(self, data: bytes) -> None:
        """Add received octets."""
        self._buffer.feed(data)

    def next(self) -> Reply | None:
        """Return the next complete reply; None if more octets are needed.

        Raises:
            RemoteProtocolError: the octets are not a reply, or exceed the limits.
        """
        while (line := self._next_line()) is not None:
            match = _LINE.fullmatch(line)
            if match is None:
                raise not_a_reply_error(line)
            code = int(match[1])
            if self._code not in {None, code}:
                raise RemoteProtocolError(f"the codes {self._code} and {code} within one reply")
            self._code = code
            self._octets += len(line) + 2
            self._texts.append(_decode_text(match[3]))
            if match[2] != b"-":
                reply = _make_reply(code, self._texts)
                self._code, self._texts, self._octets = None, [], 0
                return reply
            if len(self._texts) >= MAX_REPLY_LINES or self._octets > MAX_REPLY:
                raise RemoteProtocolError("a reply without end")
        return None

    def _next_line(self) -> bytes | None:
        if not self._buffer:
            return None
        line = self._buffer.next_line(MAX_REPLY_LINE)
        if line is None and not (
            _REPLY_PREFIX.fullmatch(beginning := self._buffer.peek(40)) or may_be_other_protocol(beginning)
        ):
            # Fail at once on what cannot become a reply, since the end of the line may never come.
            raise not_a_reply_error(beginning)
        return line


def parse_reply_line(line: bytes) -> Reply | None:
    """Return the reply in a line, which may be the first of several; None if it is not a reply."""
    match = _LINE.fullmatch(line)
    return None if match is None else _make_reply(int(match[1]), [_decode_text(match[3])])


def _decode_text(octets: bytes | None) -> str:
    return printable((octets or b"").decode("utf-8", "backslashreplace"))


def _make_reply(code: int, texts: list[str]) -> Reply:
    enhanced = None
    match = _ENHANCED.match(texts[0])
    if match and match[1][0] == str(code)[0]:
        enhanced = match[1]
        texts = [_strip_enhanced(text, enhanced) for text in texts]
    return Reply(code, enhanced, "\n".join(texts), code < 400)


def _strip_enhanced(text: str, enhanced: str) -> str:
    return text[len(enhanced) :].lstrip(" ") if text.startswith(enhanced) else text
