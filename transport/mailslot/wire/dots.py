"""Line ends and dots: how a message travels between ``354`` or ``+OK`` and the final dot.

SMTP's client and POP3's server stuff (RFC 5321 section 4.5.2, RFC 1939 section 3); the other side undoes it.
Both work on pieces of any size, with a fixed few octets of state, and cut nowhere but at CRLF: a bare LF or
CR is made a CRLF on the way out, and never ends anything on the way in, so that no message can smuggle a
second one past either end.
"""

from __future__ import annotations

from typing import Final

CRLF: Final = b"\r\n"
END: Final = b"\r\n.\r\n"


class LineEndNormalizer:
    """Makes every line end CRLF, whatever it was, across any cuts (RFC 5321 section 2.3.8).

    Attributes:
        size: the octets given out so far.
        at_line_start: whether the next octet begins a line.
    """

    __slots__ = ("_after_cr", "at_line_start", "size")

    def __init__(self) -> None:
        self._after_cr = False
        self.at_line_start = True
        self.size = 0

    def feed(self, data: bytes) -> bytes:
        """Return `data` with its line ends made CRLF; a CR at its very end waits for the next piece."""
        if self._after_cr:
            data = b"\r" + data
            self._after_cr = False
        if data.endswith(b"\r"):
            self._after_cr = True
            data = data[:-1]
        if not data:
            return data
        between = data.replace(CRLF, b"")
        if b"\n" in between or b"\r" in between:
            data = data.replace(CRLF, b"\n").replace(b"\r", b"\n").replace(b"\n", CRLF)
        self.at_line_start = data.endswith(b"\n")
        self.size += len(data)
        return data

    def finish(self) -> bytes:
        """Return what completes the last line: nothing where it is complete, else CRLF."""
        if self._after_cr or not self.at_line_start:
            self._after_cr = False
            self.at_line_start = True
            self.size += len(CRLF)
            return CRLF
        return b""


class DotStuffer:
    """Turns a message into what goes between ``354`` and the final dot, which `finish` gives.

    Attributes:
        size: the message's octets so far, CRLFs counted and stuffed dots not, as SIZE counts them (RFC 1870).
    """

    __slots__ = ("_canonical",)

    def __init__(self) -> None:
        self._canonical = LineEndNormalizer()

    @property
    def size(self) -> int:
        """The message's octets so far."""
        return self._canonical.size

    def feed(self, data: bytes) -> bytes:
        """Return `data` as it goes onto the wire."""
        at_line_start = self._canonical.at_line_start
        data = self._canonical.feed(data)
        if b"\n." in data:
            data = data.replace(b"\n.", b"\n..")
        if at_line_start and data.startswith(b"."):
            data = b"." + data
        return data

    def finish(self) -> bytes:
        """Return the end: the last line completed where it was not, and the dot."""
        return self._canonical.finish() + b".\r\n"


class DotUnstuffer:
    """Takes the message back out of a multi-line answer or of DATA, and knows where it ends.

    Only CRLF ``.`` CRLF ends it; no line is too long.

    Attributes:
        done: whether the end has come.
        rest: what followed the end in the last piece; meaningful once `done`.
    """

    __slots__ = ("_held", "_virtual", "done", "rest")

    def __init__(self) -> None:
        # The end may be the very first line, as if a line had just ended.
        self._held: bytes = CRLF
        self._virtual = len(CRLF)
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the message's octets that `data` completes; raises `ValueError` once `done`."""
        if self.done:
            raise ValueError("the message has ended")
        data = self._held + data
        first = data.find(b"\r\n.")
        if first >= 0:
            end = data.find(END, first)
            if end >= 0:
                self.done = True
                self.rest = data[end + len(END) :]
                return self._give(data[: end + len(CRLF)])
        keep = _tail_of_end(data)
        self._held = data[len(data) - keep :]
        return self._give(data[: len(data) - keep])

    def _give(self, data: bytes) -> bytes:
        if b"\r\n." in data:
            data = data.replace(b"\r\n.", CRLF)
        if self._virtual and data:
            data = data[self._virtual :]
            self._virtual = 0
        return data


def _tail_of_end(data: bytes) -> int:
    """Return how many of the last octets could be the beginning of the end."""
    for length in (4, 3, 2, 1):
        if data.endswith(END[:length]):
            return length
    return 0
