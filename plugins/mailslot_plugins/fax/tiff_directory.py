"""Reads the directories of a TIFF file leniently and within bounds (RFC 3949 section 3, RFC 3249 section 5.2).

Either byte order, SHORT instead of LONG, tags out of order or repeated, directories behind their data or at odd
offsets, 64-bit files (BigTIFF): devices in the field write all of these, and a fax must not be lost over them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_PAGES: Final = 500
MAX_VALUES: Final = 65_536
"""The most values of one tag; a page with one line per strip has as many as it has lines."""

_MAX_FIELDS: Final = 4_096
"""The most fields of a directory that are read."""

_TYPE_FORMATS: Final[Mapping[int, str]] = {
    1: "B",
    2: "B",
    3: "H",
    4: "I",
    6: "b",
    7: "B",
    8: "h",
    9: "i",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}
_RATIONALS: Final[Mapping[int, str]] = {5: "I", 10: "i"}
_BYTE_ORDERS: Final[Mapping[bytes, str]] = {b"II": "<", b"MM": ">"}

_WIDTH, _LENGTH = 256, 257
_DATA_TAGS: Final = (273, 324, 513)
"""StripOffsets, TileOffsets and the offset of old-style JPEG; a page's directory has one of them."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The sizes of numbers in a file, classic or BigTIFF.

    Attributes:
        count_format, offset_format: the formats of a directory's number of fields, and of an offset.
        field: octets of a field.
        inline: the most octets of a value that is stored in its field.
    """

    count_format: str
    offset_format: str
    field: int
    inline: int


_LAYOUTS: Final[Mapping[int, _Layout]] = {42: _Layout("H", "I", 12, 4), 43: _Layout("Q", "Q", 20, 8)}


class NotTiffError(ValueError):
    """The data is not a TIFF file that can be read."""


@dataclass(frozen=True, slots=True)
class Directory:
    """The directory of one page.

    Attributes:
        values: the values by tag, of its first field; fractions as floats, 0.0 if the denominator is zero.
        offset: its offset in the file.
    """

    values: Mapping[int, tuple[float, ...]]
    offset: int = 0

    @property
    def is_page(self) -> bool:
        """Whether it has what every page has: a size, and an offset of its pixels."""
        sized = _WIDTH in self.values and _LENGTH in self.values
        return sized and any(tag in self.values for tag in _DATA_TAGS)

    def number(self, tag: int, default: int) -> int:
        """Return a tag's first value."""
        values = self.values.get(tag)
        return int(values[0]) if values else default

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return all values of a tag."""
        return tuple(int(value) for value in self.values.get(tag, ()))

    def fraction(self, tag: int) -> float:
        """Return a tag's first value as a float; 0.0 if it is missing."""
        values = self.values.get(tag)
        return float(values[0]) if values else 0.0


def read_directories(data: bytes) -> Iterator[Directory]:
    """Return the pages of a TIFF file, in order.

    Raises:
        NotTiffError: it is not a TIFF file, or its chain of pages leads out of the file, back, or to something that is
            not a page; the pages before that are returned first.
    """
    byte_order = _BYTE_ORDERS.get(data[:2])
    layout = (
        _LAYOUTS.get(struct.unpack_from(byte_order + "H", data, 2)[0])
        if byte_order is not None and len(data) >= 8
        else None
    )
    if byte_order is None or layout is None or len(data) < 8 + 2 * (layout.inline - 4):
        raise NotTiffError("this is not a TIFF file")
    [offset] = struct.unpack_from(byte_order + layout.offset_format, data, layout.inline)
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise NotTiffError("the chain of pages leads back to one before")
        if len(seen) >= MAX_PAGES:
            raise NotTiffError(f"there are more than {MAX_PAGES} pages")
        seen.add(offset)
        start = offset + struct.calcsize(byte_order + layout.count_format)
        if start > len(data):
            raise NotTiffError("the chain of pages leads out of the file")
        [count] = struct.unpack_from(byte_order + layout.count_format, data, offset)
        end = start + layout.field * count
        available = min(count, max(0, len(data) - start) // layout.field, _MAX_FIELDS)
        directory = Directory(dict(_fields(data, byte_order, layout, start, available)), offset)
        if not directory.is_page:
            raise NotTiffError("the chain of pages leads to something that is not a page")
        yield directory
        if end + layout.inline > len(data):
            return
        [offset] = struct.unpack_from(byte_order + layout.offset_format, data, end)


def _fields(
    data: bytes, byte_order: str, layout: _Layout, start: int, count: int
) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Return the fields of a directory, last one first, so that the first of two fields with one tag wins."""
    for position in reversed(range(start, start + layout.field * count, layout.field)):
        tag, kind, number = struct.unpack_from(byte_order + "HH" + layout.offset_format, data, position)
        type_format = _TYPE_FORMATS.get(kind) or _RATIONALS.get(kind)
        if type_format is None or not 0 < number <= MAX_VALUES:
            continue
        value_format = byte_order + type_format * (number * (2 if kind in _RATIONALS else 1))
        size = struct.calcsize(value_format)
        value_offset = position + 4 + layout.inline
        if size > layout.inline:
            [value_offset] = struct.unpack_from(byte_order + layout.offset_format, data, value_offset)
        if value_offset + size > len(data):
            continue
        values: tuple[int, ...] = struct.unpack_from(value_format, data, value_offset)
        if kind in _RATIONALS:
            pairs = zip(values[::2], values[1::2], strict=True)
            yield tag, tuple(numerator / denominator if denominator else 0.0 for numerator, denominator in pairs)
        else:
            yield tag, values
