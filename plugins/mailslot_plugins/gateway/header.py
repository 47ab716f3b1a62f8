"""Reads the header of a device's message from a stream.

Devices write headers that no standard allows. The first line that is not a field ends the header, and belongs to the
body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_SIZE: Final = 262_144
"""Octets of a header; a line may have 65,536, since old devices write all recipients on one line."""
MAX_FIELDS: Final = 2_000
"""Fields of a header, limited since each takes more memory than it has octets."""

_FIELD: Final = re.compile(rb"([!-9;-~]{1,256})[ \t]*:")


@dataclass(frozen=True, slots=True)
class HeaderField:
    """A field.

    Attributes:
        name: its name, in lower case.
        raw: the whole field, with its line ends.
    """

    name: str
    raw: bytes

    @property
    def value(self) -> bytes:
        """Its value, unfolded, without surrounding blanks."""
        value = self.raw.partition(b":")[2]
        return re.sub(rb"\r\n(?=[ \t])", b"", value).strip(b" \t\r\n")


class HeaderTooLargeError(Exception):
    """The header is larger than `MAX_SIZE`, or has more than `MAX_FIELDS` fields."""


class HeaderReader:
    """Reads the header of a message that arrives in pieces, with CRLF line ends.

    Attributes:
        fields: the fields so far.
        is_complete: whether the header has ended.
    """

    def __init__(self) -> None:
        self.fields: list[HeaderField] = []
        self.is_complete = False
        self._buffer = bytearray()
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        """Read a piece; return the octets in it that belong to the body.

        Raises:
            HeaderTooLargeError: the header exceeds the limits.
        """
        if self.is_complete:
            return data
        # Only the end of the buffer can hold half a line end.
        start = max(len(self._buffer) - 1, 0)
        self._buffer += data
        position = 0
        while (end := self._buffer.find(b"\r\n", max(start, position))) >= 0:
            line = bytes(self._buffer[position : end + 2])
            if line == b"\r\n":
                return self._complete(end + 2)
            if not self._add_line(line):
                return self._complete(position)
            position = end + 2
        self._size += position
        del self._buffer[:position]
        if self._size + len(self._buffer) > MAX_SIZE:
            raise HeaderTooLargeError
        return b""

    def finish(self) -> bytes:
        """End the header at the end of the message; return the octets of the body, such as an incomplete line."""
        return b"" if self.is_complete else self._complete(0)

    def _add_line(self, line: bytes) -> bool:
        """Add a line; return False if it does not belong to a field."""
        if line[0] in b" \t":
            if not self._lines:
                return False
        elif _FIELD.match(line):
            self._end_field()
        else:
            return False
        self._lines.append(line)
        return True

    def _end_field(self) -> None:
        if self._lines:
            raw = b"".join(self._lines)
            name = _FIELD.match(raw)
            assert name is not None  # noqa: S101 - its first line matched
            if len(self.fields) >= MAX_FIELDS:
                raise HeaderTooLargeError
            self.fields.append(HeaderField(name[1].decode("ascii").lower(), raw))
            self._lines = []

    def _complete(self, position: int) -> bytes:
        self._end_field()
        self.is_complete = True
        body = bytes(self._buffer[position:])
        self._buffer.clear()
        return body
