"""Replies taken from lines (RFC 5321 section 4.2, RFC 2034)."""

from __future__ import annotations

import re
from typing import Final

from mailslot.smtp.limits import MAX_REPLY, MAX_REPLY_LINE, MAX_REPLY_LINES
from mailslot.wire.lines import LineBuffer
from mailslot.wire.peer_detection import not_a_reply, undecided
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot.wire.reply import Reply, printable

_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_BEGINNING: Final = re.compile(rb"(?:[2-5](?:[0-9](?:[0-9](?:[ \r-].*)?)?)?)?", re.DOTALL)
_ENHANCED: Final = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)")


class ReplyParser:
    """Takes whole replies from the octets that a server sends.

    It acts on the codes alone; words are kept for people (RFC 5321 section 4.2).
    """

    def __init__(self) -> None:
        self._buffer = LineBuffer()
        self._code: int | None = None
        self._texts: list[str] = []
        self._octets = 0

    def __len__(self) -> int:
        """The octets received that no reply has taken yet."""
        return len(self._buffer) + self._octets

    def feed(self, data: bytes) -> None:
        """Add octets that were received."""
        self._buffer.feed(data)

    def next(self) -> Reply | None:
        """Return the next whole reply, or None while it is incomplete.

        Raises:
            RemoteProtocolError: what came is not a reply, or is larger than any reply.
        """
        while (line := self._line()) is not None:
            match = _LINE.fullmatch(line)
            if match is None:
                raise not_a_reply(line)
            code = int(match[1])
            if self._code not in {None, code}:
                raise RemoteProtocolError(f"the codes {self._code} and {code} within one reply")
            self._code = code
            self._octets += len(line) + 2
            self._texts.append(_text(match[3]))
            if match[2] != b"-":
                reply = _reply(code, self._texts)
                self._code, self._texts, self._octets = None, [], 0
                return reply
            if len(self._texts) >= MAX_REPLY_LINES or self._octets > MAX_REPLY:
                raise RemoteProtocolError("a reply without end")
        return None

    def _line(self) -> bytes | None:
        if not self._buffer:
            return None
        line = self._buffer.line(MAX_REPLY_LINE)
        if line is None and not (_BEGINNING.fullmatch(beginning := self._buffer.peek(40)) or undecided(beginning)):
            # What can never become a reply is told at once; its end might not come.
            raise not_a_reply(beginning)
        return line


def reply_in(line: bytes) -> Reply | None:
    """Return the reply that a line is, or begins; None where it is none."""
    match = _LINE.fullmatch(line)
    return None if match is None else _reply(int(match[1]), [_text(match[3])])


def _text(octets: bytes | None) -> str:
    return printable((octets or b"").decode("utf-8", "backslashreplace"))


def _reply(code: int, texts: list[str]) -> Reply:
    enhanced = None
    match = _ENHANCED.match(texts[0])
    if match and match[1][0] == str(code)[0]:
        enhanced = match[1]
        texts = [_without(text, enhanced) for text in texts]
    return Reply(code, enhanced, "\n".join(texts), code < 400)


def _without(text: str, enhanced: str) -> str:
    return text[len(enhanced) :].lstrip(" ") if text.startswith(enhanced) else text
