"""Splitting received octets into lines, in linear time and bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.wire.protocol_error import RemoteProtocolError

if TYPE_CHECKING:
    import re


class LineBuffer:
    """Received octets, returned line by line or unparsed.

    Only CRLF ends a line. A bare LF is a protocol error, since accepting both lets one reply pass for two.

    Attributes:
        unread: the number of octets that were not returned.
    """

    __slots__ = ("_data", "_searched", "_start", "unread")

    def __init__(self) -> None:
        self._data = bytearray()
        self._start = 0
        self._searched = 0
        self.unread: int = 0

    def __len__(self) -> int:
        return self.unread

    def feed(self, data: bytes) -> None:
        """Add octets that were received."""
        if self.unread:
            self._data += data
        else:
            self._data = bytearray(data)
            self._start = self._searched = 0
        self.unread += len(data)

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
        data, start = self._data, self._start
        end = data.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(data)
            if self._searched - start >= limit:
                raise RemoteProtocolError(f"a line of over {limit} octets")
            return None
        if end + 1 - start > limit:
            raise RemoteProtocolError(f"a line of over {limit} octets")
        if end == start or data[end - 1] != 0x0D:
            raise RemoteProtocolError("a line that ends with a bare LF")
        line = bytes(data[start : end - 1])
        self._start = self._searched = end + 1
        self.unread -= end + 1 - start
        if end >= 65536:
            del data[: end + 1]
            self._start = self._searched = 0
        return line

    def take(self, until: re.Pattern[bytes] | None = None) -> bytes:
        """Remove and return the octets up to and including the first match of `until`; all of them if there is none."""
        found = None if until is None else until.search(self._data, self._start)
        end = len(self._data) if found is None else found.end()
        with memoryview(self._data) as view:
            data = bytes(view[self._start : end])
        self._start = self._searched = end
        self.unread -= len(data)
        return data

    def clear(self) -> None:
        """Remove all octets."""
        self._data = bytearray()
        self._start = self._searched = self.unread = 0

    def peek_through(self, until: re.Pattern[bytes]) -> bytes | None:
        """Return the next octets up to and including the first match, without removing them; None without one."""
        found = until.search(self._data, self._start)
        return None if found is None else bytes(self._data[self._start : found.end()])

    def peek_match(self, pattern: re.Pattern[bytes]) -> bytes:
        """Return the next octets that match a pattern, without removing them; none if they do not."""
        found = pattern.match(self._data, self._start)
        return b"" if found is None else bytes(found[0])

    def skip(self, count: int) -> None:
        """Remove the next `count` octets."""
        self._start += count
        self._searched = self._start
        self.unread -= count
        if self._start > 65536:
            del self._data[: self._start]
            self._start = self._searched = 0

    def push_back(self, count: int) -> None:
        """Undo the removal of the last `count` octets taken, before any others are fed."""
        self._start = self._searched = self._start - count
        self.unread += count
