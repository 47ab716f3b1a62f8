"""The directories of a TIFF file, read leniently and within bounds (RFC 3949 section 3, RFC 3249 section 5.2).

Either byte order, SHORT where LONG belongs, tags out of order or twice, directories behind their data or at odd
offsets, files of more than 32 bits (BigTIFF): all of it comes from devices in the field, and none of it is a reason to
lose a fax.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_PAGES: Final = 500
MAX_VALUES: Final = 65_536
"""Values that one tag may have; a page of one line a strip has as many as it has lines."""

_MAX_FIELDS: Final = 4_096
"""Fields of a directory that are looked at."""

_FORMATS: Final[Mapping[int, str]] = {
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
_FORMS: Final[Mapping[bytes, str]] = {b"II": "<", b"MM": ">"}

_WIDTH, _LENGTH = 256, 257
_PLACES: Final = (273, 324, 513)
"""StripOffsets, TileOffsets, and where JPEG of the old kind is: what makes a directory that of a page."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a file counts.

    Attributes:
        count, place: the formats of a directory's number of fields, and of an offset.
        field: the octets of a field.
        inline: the octets of a value that stands in its field.
    """

    count: str
    place: str
    field: int
    inline: int


_LAYOUTS: Final[Mapping[int, _Layout]] = {42: _Layout("H", "I", 12, 4), 43: _Layout("Q", "Q", 20, 8)}


class NotTiffError(ValueError):
    """What was given is no TIFF file that can be read."""


@dataclass(frozen=True, slots=True)
class Directory:
    """What a TIFF file says of one page.

    Attributes:
        values: by tag, what the first of its fields holds; fractions as floats, 0.0 where they divide by nothing.
        offset: where it stands in the file.
    """

    values: Mapping[int, tuple[float, ...]]
    offset: int = 0

    @property
    def is_page(self) -> bool:
        """Whether it has what every page has: a size, and a place for its pixels."""
        sized = _WIDTH in self.values and _LENGTH in self.values
        return sized and any(place in self.values for place in _PLACES)

    def number(self, tag: int, otherwise: int) -> int:
        """Return a tag's first value."""
        found = self.values.get(tag)
        return int(found[0]) if found else otherwise

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return all values of a tag."""
        return tuple(int(value) for value in self.values.get(tag, ()))

    def fraction(self, tag: int) -> float:
        """Return a tag's first value as it is; 0.0 where it is missing."""
        found = self.values.get(tag)
        return float(found[0]) if found else 0.0


def read_directories(data: bytes) -> Iterator[Directory]:
    """Return the pages of a TIFF file in the order of their chain.

    Args:
        data: the whole file.

    Raises:
        NotTiffError: it is none, or its chain of pages leads out of it, back, or to what is no page; the pages before
            that are given.
    """
    form = _FORMS.get(data[:2])
    layout = _LAYOUTS.get(struct.unpack_from(form + "H", data, 2)[0]) if form is not None and len(data) >= 8 else None
    if form is None or layout is None or len(data) < 8 + 2 * (layout.inline - 4):
        raise NotTiffError("this is not a TIFF file")
    [offset] = struct.unpack_from(form + layout.place, data, layout.inline)
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise NotTiffError("the chain of pages leads back to one before")
        if len(seen) >= MAX_PAGES:
            raise NotTiffError(f"there are more than {MAX_PAGES} pages")
        seen.add(offset)
        start = offset + struct.calcsize(form + layout.count)
        if start > len(data):
            raise NotTiffError("the chain of pages leads out of the file")
        [count] = struct.unpack_from(form + layout.count, data, offset)
        end = start + layout.field * count
        held = min(count, max(0, len(data) - start) // layout.field, _MAX_FIELDS)
        directory = Directory(dict(_fields(data, form, layout, start, held)), offset)
        if not directory.is_page:
            raise NotTiffError("the chain of pages leads to what is no page")
        yield directory
        if end + layout.inline > len(data):
            return
        [offset] = struct.unpack_from(form + layout.place, data, end)


def _fields(data: bytes, form: str, layout: _Layout, start: int, count: int) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Return the fields of a directory, last one first, so that the first of two with one tag prevails."""
    for position in reversed(range(start, start + layout.field * count, layout.field)):
        tag, kind, number = struct.unpack_from(form + "HH" + layout.place, data, position)
        letter = _FORMATS.get(kind) or _RATIONALS.get(kind)
        if letter is None or not 0 < number <= MAX_VALUES:
            continue
        letters = form + letter * (number * (2 if kind in _RATIONALS else 1))
        size = struct.calcsize(letters)
        where = position + 4 + layout.inline
        if size > layout.inline:
            [where] = struct.unpack_from(form + layout.place, data, where)
        if where + size > len(data):
            continue
        values: tuple[int, ...] = struct.unpack_from(letters, data, where)
        if kind in _RATIONALS:
            pairs = zip(values[::2], values[1::2], strict=True)
            yield tag, tuple(above / below if below else 0.0 for above, below in pairs)
        else:
            yield tag, values
