"""Extracts and joins the pages of TIFF files without decoding them (TIFF revision 6.0).

A page is its directory and the strips or tiles that the directory names. They are copied unchanged: nothing is
compressed again, and a page of any size takes little memory.
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
_CHUNK_SIZE: Final = 1 << 20

_TYPE_SIZES: Final[Mapping[int, int]] = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_STRIPS: Final = (273, 279)
_TILES: Final = (324, 325)
_COMPRESSION: Final = 259
_OLD_JPEG: Final = 6
_PAGE_NUMBER: Final = 297
# FreeOffsets, FreeByteCounts, SubIFDs, and the Exif, GPS and interoperability directories: offsets in the old file.
_OFFSET_TAGS: Final = frozenset({288, 289, 330, 34665, 34853, 40965})
_MAX_OFFSET: Final = 2**32 - 1


class TiffError(ValueError):
    """Pages of a TIFF file cannot be extracted or joined; the text says why, for a person."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A directory entry: its type, the number of values, and their octets in the file's byte order."""

    type: int
    count: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """A page in its file.

    Attributes:
        byte_order: the byte order, ``<`` or ``>``.
        entries: the fields by tag, without those for the positions of strips or tiles.
        location_tags: the tags of offsets and of byte counts.
        strips: the position and length of each strip or tile.
    """

    byte_order: str
    entries: Mapping[int, Entry]
    location_tags: tuple[int, int]
    strips: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """The most octets that the page takes in a file."""
        values = sum(len(entry.value) + 1 for entry in self.entries.values() if len(entry.value) > 4)
        return (
            2
            + 12 * (len(self.entries) + 2)
            + 4
            + values
            + 8 * len(self.strips)
            + sum(n + 1 for _, n in self.strips)
            + 1
        )


HEADER: Final = 8
"""Octets before the first page."""


def read_pages(file: BinaryIO) -> list[Page]:
    """Return the pages, in order.

    Raises:
        TiffError: it is not such a TIFF file, or is damaged.
    """
    length = file.seek(0, 2)
    file.seek(0)
    head = file.read(HEADER)
    byte_order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
    if byte_order is None or len(head) < HEADER:
        raise TiffError("it is not a TIFF file")
    [offset] = struct.unpack(f"{byte_order}I", head[4:])
    pages: list[Page] = []
    seen: set[int] = set()
    while offset:
        if offset in seen or len(pages) >= MAX_PAGES:
            raise TiffError("its chain of pages has no end")
        seen.add(offset)
        page, offset = _read_page(file, byte_order, offset, length)
        pages.append(page)
    if not pages:
        raise TiffError("it has no pages")
    return pages


def write_pages(target: BinaryIO, pages: Iterable[tuple[BinaryIO, Page]]) -> None:
    """Write a TIFF file.

    Args:
        target: an empty file.
        pages: at least one page, each with its file; all in the same byte order.

    Raises:
        TiffError: the byte orders differ, or a file has become shorter.
    """
    all_pages = list(pages)
    orders = {page.byte_order for _, page in all_pages}
    if len(orders) != 1:
        raise TiffError("its pages are in different byte orders")
    [byte_order] = orders
    target.write((b"II*\0" if byte_order == "<" else b"MM\0*") + struct.pack(f"{byte_order}I", 0))
    link = HEADER - 4
    for number, (source, page) in enumerate(all_pages):
        link = _write_page(target, source, page, link, (number, len(all_pages)))


def _read_page(file: BinaryIO, byte_order: str, offset: int, length: int) -> tuple[Page, int]:
    [count] = struct.unpack(f"{byte_order}H", _read_at(file, offset, 2, length))
    if not 0 < count <= _MAX_ENTRIES:
        raise TiffError("a directory in it is damaged")
    directory = _read_at(file, offset + 2, 12 * count, length)
    entries: dict[int, Entry] = {}
    for tag, kind, number, inline in struct.iter_unpack(f"{byte_order}HHI4s", directory):
        size = _TYPE_SIZES.get(kind, 0) * number
        if not size or tag in _OFFSET_TAGS:
            continue
        if size > _MAX_VALUE:
            raise TiffError("a directory in it is damaged")
        offset_of_value = struct.unpack(f"{byte_order}I", inline)[0]
        value = inline[:size] if size <= 4 else _read_at(file, offset_of_value, size, length)
        entries.setdefault(tag, Entry(kind, number, value))
    # Some writers omit the last link. It is required here, because a truncated file looks the same and lacks pages.
    [following] = struct.unpack(f"{byte_order}I", _read_at(file, offset + 2 + 12 * count, 4, length))
    return _page(byte_order, entries, length), following


def _page(byte_order: str, entries: dict[int, Entry], length: int) -> Page:
    places = _TILES if _TILES[0] in entries else _STRIPS
    compression = entries.get(_COMPRESSION)
    if compression is not None and _numbers(byte_order, compression)[:1] == (_OLD_JPEG,):
        raise TiffError("it holds JPEG of the old kind, which cannot be taken apart")
    if places[0] not in entries or places[1] not in entries:
        raise TiffError("it does not say where its pages are")
    offsets, counts = (_numbers(byte_order, entries.pop(tag)) for tag in places)
    data = tuple(zip(offsets, counts, strict=False))
    if len(offsets) != len(counts) or any(start + size > length for start, size in data):
        raise TiffError("it is not complete")
    return Page(byte_order, entries, places, data)


def _write_page(target: BinaryIO, source: BinaryIO, page: Page, link: int, number: tuple[int, int]) -> int:
    """Write a page; return the position of the link to the next page."""
    byte_order = page.byte_order
    places: list[int] = []
    for start, size in page.strips:
        places.append(_align(target))
        _copy(source, target, start, size)
    counts = [size for _, size in page.strips]
    entries = dict(page.entries)
    for tag, numbers in zip(page.location_tags, (places, counts), strict=True):
        if max(numbers, default=0) > _MAX_OFFSET:
            raise TiffError("it would be larger than a TIFF file can be")
        entries[tag] = Entry(4, len(numbers), struct.pack(f"{byte_order}{len(numbers)}I", *numbers))
    if _PAGE_NUMBER in entries:
        entries[_PAGE_NUMBER] = Entry(3, 2, struct.pack(f"{byte_order}2H", *number))
    fields: list[bytes] = []
    for tag, entry in sorted(entries.items()):
        inline = entry.value.ljust(4, b"\0")
        if len(entry.value) > 4:
            inline = struct.pack(f"{byte_order}I", _align(target))
            target.write(entry.value)
        fields.append(struct.pack(f"{byte_order}HHI", tag, entry.type, entry.count) + inline)
    start = _align(target)
    if start > _MAX_OFFSET:
        raise TiffError("it would be larger than a TIFF file can be")
    target.write(struct.pack(f"{byte_order}H", len(fields)) + b"".join(fields) + bytes(4))
    end = target.tell()
    target.seek(link)
    target.write(struct.pack(f"{byte_order}I", start))
    target.seek(end)
    return end - 4


def _numbers(byte_order: str, entry: Entry) -> tuple[int, ...]:
    type_code = {1: "B", 3: "H", 4: "I"}.get(entry.type)
    if type_code is None:
        raise TiffError("a directory in it is damaged")
    return struct.unpack(f"{byte_order}{entry.count}{type_code}", entry.value)


def _align(target: BinaryIO) -> int:
    """Pad to an even offset, as TIFF requires, and return it."""
    if target.tell() % 2:
        target.write(b"\0")
    return target.tell()


def _read_at(file: BinaryIO, offset: int, size: int, length: int) -> bytes:
    if offset + size > length:
        raise TiffError("it is not complete")
    file.seek(offset)
    octets = file.read(size)
    if len(octets) < size:
        raise TiffError("it is not complete")
    return octets


def _copy(source: BinaryIO, target: BinaryIO, start: int, size: int) -> None:
    source.seek(start)
    remaining = size
    while remaining:
        chunk = source.read(min(remaining, _CHUNK_SIZE))
        if not chunk:
            raise TiffError("it is not complete")
        target.write(chunk)
        remaining -= len(chunk)
