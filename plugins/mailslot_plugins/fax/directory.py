"""The directories of a TIFF file, read leniently and within bounds (RFC 3949 section 3, RFC 3249 section 5.2).

Either byte order, SHORT where LONG belongs, tags out of order or twice, directories behind their data or at odd
offsets: all of it comes from devices in the field, and none of it is a reason to lose a fax.
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

_FORMATS: Final[Mapping[int, str]] = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i"}
_RATIONALS: Final[Mapping[int, str]] = {5: "I", 10: "i"}
_FORMS: Final[Mapping[bytes, str]] = {b"II": "<", b"MM": ">"}


class NotTiffError(ValueError):
    """What was given is no TIFF file that can be read."""


@dataclass(frozen=True, slots=True)
class Directory:
    """What a TIFF file says of one page.

    Attributes:
        values: by tag, what the first of its fields holds; fractions as floats, 0.0 where they divide by nothing.
    """

    values: Mapping[int, tuple[float, ...]]

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
        NotTiffError: it is none, or its chain of pages leads out of it or back; the pages before that are given.
    """
    form = _FORMS.get(data[:2])
    if form is None or len(data) < 8 or struct.unpack_from(form + "H", data, 2)[0] != 42:
        raise NotTiffError("this is not a TIFF file")
    [offset] = struct.unpack_from(form + "I", data, 4)
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise NotTiffError("the chain of pages leads back to one before")
        if len(seen) >= MAX_PAGES:
            raise NotTiffError(f"there are more than {MAX_PAGES} pages")
        seen.add(offset)
        if offset + 2 > len(data):
            raise NotTiffError("the chain of pages leads out of the file")
        [count] = struct.unpack_from(form + "H", data, offset)
        end = offset + 2 + 12 * count
        yield Directory(dict(_fields(data, form, offset + 2, min(count, max(0, len(data) - offset - 2) // 12))))
        if end + 4 > len(data):
            return
        [offset] = struct.unpack_from(form + "I", data, end)


def _fields(data: bytes, form: str, start: int, count: int) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Return the fields of a directory, last one first, so that the first of two with one tag prevails."""
    for position in reversed(range(start, start + 12 * count, 12)):
        tag, kind, number = struct.unpack_from(form + "HHI", data, position)
        letter = _FORMATS.get(kind) or _RATIONALS.get(kind)
        if letter is None or not 0 < number <= MAX_VALUES:
            continue
        letters = form + letter * (number * (2 if kind in _RATIONALS else 1))
        size = struct.calcsize(letters)
        where = position + 8
        if size > 4:
            [where] = struct.unpack_from(form + "I", data, where)
        if where + size > len(data):
            continue
        values: tuple[int, ...] = struct.unpack_from(letters, data, where)
        if kind in _RATIONALS:
            pairs = zip(values[::2], values[1::2], strict=True)
            yield tag, tuple(above / below if below else 0.0 for above, below in pairs)
        else:
            yield tag, values
