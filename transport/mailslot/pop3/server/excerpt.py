"""The part of a message that TOP shows: its header, and some lines of its body (RFC 1939 section 7)."""

from __future__ import annotations


class Excerpt:
    """Takes the beginning of a message, in pieces of any size.

    Attributes:
        is_complete: whether the excerpt is complete.
    """

    __slots__ = ("_blank", "_in_header", "_left", "is_complete")

    def __init__(self, lines: int) -> None:
        """Begin; `lines` is the number of lines of the body."""
        self.is_complete = False
        self._left = lines
        self._in_header = True
        self._blank = True  # the line so far is empty

    def feed(self, data: bytes) -> bytes:
        """Return the part of the next piece that belongs to the excerpt."""
        at = 0
        while not self.is_complete:
            end = data.find(b"\n", at)
            if end < 0:
                self._blank = self._blank and data[at:] in {b"", b"\r"}
                return data
            blank, self._blank = self._blank and data[at:end] in {b"", b"\r"}, True
            at = end + 1
            if self._in_header:
                self._in_header = not blank
            else:
                self._left -= 1
            self.is_complete = not self._in_header and self._left == 0
        return data[:at]
