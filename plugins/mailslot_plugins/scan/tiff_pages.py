"""The pages of a TIFF file, taken out and put together without decoding them (TIFF revision 6.0).

A page is its directory and the strips or tiles that the directory names. They are copied octet by octet, so nothing
is compressed again, whatever the compression, and a page of any size takes no memory.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_PAGES: Final = 10_000
_MAX_ENTRIES: Final = 1_000
_MAX_VALUE: Final = 16_000_000
_COPY: Final = 1 << 20

_SIZES: Final[Mapping[int, int]] = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_STRIPS: Final = (273, 279)
_TILES: Final = (324, 325)
_COMPRESSION: Final = 259
_OLD_JPEG: Final = 6
_PAGE_NUMBER: Final = 297
# FreeOffsets, FreeByteCounts, SubIFDs, and the directories of Exif, GPS and interoperability: places in the old file.
_PLACES: Final = frozenset({288, 289, 330, 34665, 34853, 40965})
_LARGEST: Final = 2**32 - 1


class TiffError(ValueError):
    """A TIFF file whose pages cannot be taken apart or put together; its text says why, for a person."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A field of a directory: its type, how many values, and their octets in the file's byte order."""

    type: int
    count: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """A page, still in its file.

    Attributes:
        order: the byte order, ``<`` or ``>``.
        entries: the fields but those that say where strips or tiles are, by tag.
        places: the tags of offsets and of byte counts.
        data: where each strip or tile is, and how long it is.
    """

    order: str
    entries: Mapping[int, Entry]
    places: tuple[int, int]
    data: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """How many octets it takes in a file of its own or among others, at most."""
        values = sum(len(entry.value) + 1 for entry in self.entries.values() if len(entry.value) > 4)
        return 2 + 12 * (len(self.entries) + 2) + 4 + values + 8 * len(self.data) + sum(n + 1 for _, n in self.data) + 1


HEADER: Final = 8
"""Octets before the first page."""


def read_pages(file: BinaryIO) -> list[Page]:
    """Return the pages in the order of their chain.

    Raises:
        TiffError: it is no TIFF file of this kind, or is damaged.
    """
    length = file.seek(0, 2)
    file.seek(0)
    head = file.read(HEADER)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
    if order is None or len(head) < HEADER:
        raise TiffError("it is not a TIFF file")
    [offset] = struct.unpack(f"{order}I", head[4:])
    pages: list[Page] = []
    seen: set[int] = set()
    while offset:
        if offset in seen or len(pages) >= MAX_PAGES:
            raise TiffError("its chain of pages has no end")
        seen.add(offset)
        page, offset = _read_page(file, order, offset, length)
        pages.append(page)
    if not pages:
        raise TiffError("it has no pages")
    return pages


def write_pages(target: BinaryIO, pages: Iterable[tuple[BinaryIO, Page]]) -> None:
    """Write a TIFF file.

    Args:
        target: an empty file.
        pages: at least one, each with the file that it is in; all in the same byte order.

    Raises:
        TiffError: the pages do not go together, or a file has become shorter.
    """
    every = list(pages)
    orders = {page.order for _, page in every}
    if len(orders) != 1:
        raise TiffError("its pages are in different byte orders")
    [order] = orders
    target.write((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 0))
    link = HEADER - 4
    for number, (source, page) in enumerate(every):
        link = _write_page(target, source, page, link, (number, len(every)))


def _read_page(file: BinaryIO, order: str, offset: int, length: int) -> tuple[Page, int]:
    [count] = struct.unpack(f"{order}H", _read(file, offset, 2, length))
    if not 0 < count <= _MAX_ENTRIES:
        raise TiffError("a directory in it is damaged")
    directory = _read(file, offset + 2, 12 * count, length)
    entries: dict[int, Entry] = {}
    for tag, kind, number, inline in struct.iter_unpack(f"{order}HHI4s", directory):
        size = _SIZES.get(kind, 0) * number
        if not size or tag in _PLACES:
            continue
        if size > _MAX_VALUE:
            raise TiffError("a directory in it is damaged")
        place = struct.unpack(f"{order}I", inline)[0]
        value = inline[:size] if size <= 4 else _read(file, place, size, length)
        entries.setdefault(tag, Entry(kind, number, value))
    # Some writers leave out the last link, but a file that was cut off looks the same, and would lose its other pages.
    [following] = struct.unpack(f"{order}I", _read(file, offset + 2 + 12 * count, 4, length))
    return _page(order, entries, length), following


def _page(order: str, entries: dict[int, Entry], length: int) -> Page:
    places = _TILES if _TILES[0] in entries else _STRIPS
    compression = entries.get(_COMPRESSION)
    if compression is not None and _numbers(order, compression)[:1] == (_OLD_JPEG,):
        raise TiffError("it holds JPEG of the old kind, which cannot be taken apart")
    if places[0] not in entries or places[1] not in entries:
        raise TiffError("it does not say where its pages are")
    offsets, counts = (_numbers(order, entries.pop(tag)) for tag in places)
    data = tuple(zip(offsets, counts, strict=False))
    if len(offsets) != len(counts) or any(start + size > length for start, size in data):
        raise TiffError("it is not complete")
    return Page(order, entries, places, data)


def _write_page(target: BinaryIO, source: BinaryIO, page: Page, link: int, number: tuple[int, int]) -> int:
    """Write a page; returns where the link to the next one is to be put."""
    order = page.order
    places: list[int] = []
    for start, size in page.data:
        places.append(_aligned(target))
        _copy(source, target, start, size)
    counts = [size for _, size in page.data]
    entries = dict(page.entries)
    for tag, numbers in zip(page.places, (places, counts), strict=True):
        if max(numbers, default=0) > _LARGEST:
            raise TiffError("it would be larger than a TIFF file can be")
        entries[tag] = Entry(4, len(numbers), struct.pack(f"{order}{len(numbers)}I", *numbers))
    if _PAGE_NUMBER in entries:
        entries[_PAGE_NUMBER] = Entry(3, 2, struct.pack(f"{order}2H", *number))
    fields: list[bytes] = []
    for tag, entry in sorted(entries.items()):
        inline = entry.value.ljust(4, b"\0")
        if len(entry.value) > 4:
            inline = struct.pack(f"{order}I", _aligned(target))
            target.write(entry.value)
        fields.append(struct.pack(f"{order}HHI", tag, entry.type, entry.count) + inline)
    start = _aligned(target)
    if start > _LARGEST:
        raise TiffError("it would be larger than a TIFF file can be")
    target.write(struct.pack(f"{order}H", len(fields)) + b"".join(fields) + bytes(4))
    end = target.tell()
    target.seek(link)
    target.write(struct.pack(f"{order}I", start))
    target.seek(end)
    return end - 4


def _numbers(order: str, entry: Entry) -> tuple[int, ...]:
    letter = {1: "B", 3: "H", 4: "I"}.get(entry.type)
    if letter is None:
        raise TiffError("a directory in it is damaged")
    return struct.unpack(f"{order}{entry.count}{letter}", entry.value)


def _aligned(target: BinaryIO) -> int:
    """Return the next place at an even offset, where everything in a TIFF file begins."""
    if target.tell() % 2:
        target.write(b"\0")
    return target.tell()


def _read(file: BinaryIO, offset: int, size: int, length: int) -> bytes:
    if offset + size > length:
        raise TiffError("it is not complete")
    file.seek(offset)
    found = file.read(size)
    if len(found) < size:
        raise TiffError("it is not complete")
    return found


def _copy(source: BinaryIO, target: BinaryIO, start: int, size: int) -> None:
    source.seek(start)
    left = size
    while left:
        piece = source.read(min(left, _COPY))
        if not piece:
            raise TiffError("it is not complete")
        target.write(piece)
        left -= len(piece)
