"""Dot-stuffing and line ends: a message as it is sent between ``354`` or ``+OK`` and the final dot.

The sender stuffs dots and the receiver removes them (RFC 5321 section 4.5.2, RFC 1939 section 3). Both classes take
pieces of any size and keep a few octets of state. Only CRLF ends a line: bare CR and LF become CRLF when sent, and
never end a message when received, which prevents SMTP smuggling.
"""

from __future__ import annotations

import re
from typing import Final

CRLF: Final = b"\r\n"
FINAL_DOT: Final = b".\r\n"
END_OF_DATA: Final = CRLF + FINAL_DOT

# These search several times as fast as `bytes.find` and `bytes.count` do, since every line has octets of them.
_BARE_LF: Final = re.compile(rb"\n(?<!\r\n)")
_BARE_CR: Final = re.compile(rb"\r(?!\n)")
_DOT_AFTER_CRLF: Final = re.compile(rb"\r\n\.")
END_PATTERN: Final = re.compile(re.escape(END_OF_DATA))


def with_crlf(data: bytes) -> bytes:
    """Return `data` with every line end as CRLF; the same object if they all are."""
    if _BARE_LF.search(data) is None and _BARE_CR.search(data) is None:
        return data
    return data.replace(CRLF, b"\n").replace(b"\r", b"\n").replace(b"\n", CRLF)


def stuffed(data: bytes) -> bytes:
    """Return whole lines, which end with CRLF, with stuffed dots."""
    # A document in base64 has no dots at all.
    if b"." in data and _DOT_AFTER_CRLF.search(data) is not None:
        data = data.replace(b"\r\n.", b"\r\n..")
    return b"." + data if data[:1] == b"." else data


def unstuffed(data: bytes) -> bytes:
    """Return whole lines without stuffed dots."""
    if b"." in data and _DOT_AFTER_CRLF.search(data) is not None:
        data = data.replace(b"\r\n.", CRLF)
    return data[1:] if data[:1] == b"." else data


def _first_dot(data: bytes) -> int:
    """Return where the first CRLF is that a dot follows; -1 without one."""
    found = _DOT_AFTER_CRLF.search(data) if b"." in data else None
    return -1 if found is None else found.start()


class WholeMessage:
    """A message in memory, with CRLF at the end of every line, including the last.

    Attributes:
        lines: the octets.
        size: their number, as SIZE counts them (RFC 1870).
    """

    __slots__ = ("lines", "size")

    def __init__(self, data: bytes) -> None:
        """Take a message with any line ends."""
        lines = with_crlf(data)
        self.lines: Final = lines if lines[-2:] == CRLF or not lines else lines + CRLF
        self.size: Final = len(self.lines)


class LineEndNormalizer:
    """Turns every line end into CRLF, in pieces of any size (RFC 5321 section 2.3.8).

    Attributes:
        size: the octets returned so far.
        at_line_start: whether the next octet begins a line.
    """

    __slots__ = ("_after_cr", "at_line_start", "size")

    def __init__(self) -> None:
        self._after_cr = False
        self.at_line_start = True
        self.size = 0

    def feed(self, data: bytes) -> bytes:
        """Return `data` with CRLF line ends; a CR at its end is kept back until the next piece."""
        if self._after_cr:
            data = b"\r" + data
            self._after_cr = False
        if data.endswith(b"\r"):
            self._after_cr = True
            data = data[:-1]
        if not data:
            return data
        data = with_crlf(data)
        self.at_line_start = data.endswith(b"\n")
        self.size += len(data)
        return data

    def finish(self) -> bytes:
        """Return CRLF if the last line is incomplete, else nothing."""
        if self._after_cr or not self.at_line_start:
            self._after_cr = False
            self.at_line_start = True
            self.size += len(CRLF)
            return CRLF
        return b""


class NoNormalizer(LineEndNormalizer):
    """Leaves every octet as it is, and counts."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """Return `data`."""
        self.size += len(data)
        return data


class DotStuffer:
    """Normalizes line ends and stuffs dots; `finish` returns the final dot.

    Attributes:
        size: the message's octets so far, with CRLFs and without stuffed dots, as SIZE counts them (RFC 1870).
    """

    __slots__ = ("_normalizer",)

    def __init__(self) -> None:
        self._normalizer = LineEndNormalizer()

    @property
    def size(self) -> int:
        """The message's octets so far."""
        return self._normalizer.size

    def feed(self, data: bytes) -> bytes:
        """Return `data` as it is sent."""
        at_line_start = self._normalizer.at_line_start
        data = self._normalizer.feed(data)
        if at_line_start:
            return stuffed(data)
        return data.replace(b"\r\n.", b"\r\n..") if _first_dot(data) >= 0 else data

    def finish(self) -> bytes:
        """Return the end of the message: CRLF if the last line is incomplete, and the final dot."""
        return self._normalizer.finish() + FINAL_DOT


class DotUnstuffer:
    """Removes stuffed dots from a multi-line response or from DATA, and finds its end.

    Only CRLF ``.`` CRLF ends the message; lines may have any length.

    Attributes:
        done: whether the end has come.
        trailing: the octets after the end in the last piece; valid once `done`.
    """

    __slots__ = ("_implied", "_pending", "done", "trailing")

    def __init__(self) -> None:
        # The end may be the first line, so the message begins as if it followed a CRLF.
        self._pending: bytes = CRLF
        self._implied = len(CRLF)
        self.done = False
        self.trailing = b""

    def feed(self, data: bytes) -> bytes:
        """Return the octets of the message up to the end of `data`; raises `ValueError` once `done`."""
        if self.done:
            raise ValueError("the message has ended")
        data = self._pending + data
        first = _first_dot(data)
        if first >= 0:
            end = END_PATTERN.search(data, first)
            if end is not None:
                self.done = True
                self.trailing = data[end.end() :]
                return self._unstuff(data[: end.end() - len(FINAL_DOT)], first)
        keep = _end_prefix_length(data)
        self._pending = data[len(data) - keep :]
        return self._unstuff(data[: len(data) - keep], first)

    def _unstuff(self, data: bytes, first_dot: int) -> bytes:
        if first_dot >= 0:
            data = data.replace(b"\r\n.", CRLF)
        if self._implied and data:
            data = data[self._implied :]
            self._implied = 0
        return data


def _end_prefix_length(data: bytes) -> int:
    """Return how many of the last octets may be the beginning of the end of data."""
    for length in (4, 3, 2, 1):
        if data.endswith(END_OF_DATA[:length]):
            return length
    return 0
