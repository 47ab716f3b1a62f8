"""Splitting received octets into lines, in linear time and bounded memory."""

from __future__ import annotations

from mailslot.wire.protocol_error import RemoteProtocolError


class LineBuffer:
    """Received octets, returned line by line or unparsed.

    Only CRLF ends a line. A bare LF is a protocol error, since accepting both lets one reply pass for two.
    """

    __slots__ = ("_data", "_searched", "_start")

    def __init__(self) -> None:
        self._data = bytearray()
        self._start = 0
        self._searched = 0

    def __len__(self) -> int:
        return len(self._data) - self._start

    def feed(self, data: bytes) -> None:
        """Add octets that were received."""
        if self._start and self._start == len(self._data):
            self._data.clear()
            self._start = self._searched = 0
        self._data += data

    def peek(self, count: int) -> bytes:
        """Return up to `count` of the next octets without removing them."""
        return bytes(self._data[self._start : self._start + count])

    def next_line(self, limit: int) -> bytes | None:
        """Return the next line without its CRLF; None while it is incomplete.

        Args:
            limit: the maximum octets of a line, including CRLF.

        Raises:
            RemoteProtocolError: the line is longer, or ends with a bare LF.
        """
        end = self._data.find(b"\n", max(self._searched, self._start))
        if end < 0:
            self._searched = len(self._data)
            if len(self) >= limit:
                raise RemoteProtocolError(f"a line of over {limit} octets")
            return None
        if end + 1 - self._start > limit:
            raise RemoteProtocolError(f"a line of over {limit} octets")
        if end == self._start or self._data[end - 1] != 0x0D:
            raise RemoteProtocolError("a line that ends with a bare LF")
        line = bytes(self._data[self._start : end - 1])
        self._start = self._searched = end + 1
        if self._start > 65536:
            del self._data[: self._start]
            self._start = self._searched = 0
        return line

    def take(self, until: bytes | None = None) -> bytes:
        """Remove and return the octets up to and including the first `until`; all of them if it does not occur."""
        found = -1 if until is None else self._data.find(until, self._start)
        end = len(self._data) if until is None or found < 0 else found + len(until)
        with memoryview(self._data) as view:
            data = bytes(view[self._start : end])
        self._start = self._searched = end
        return data

    def push_back(self, count: int) -> None:
        """Undo the removal of the last `count` octets taken, before any others are fed."""
        self._start = self._searched = self._start - count
