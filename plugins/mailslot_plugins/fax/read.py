"""The pages of a fax that came in: profiles S and F in full, the others named, plain TIFF files as they are.

Meant for a process of its own: what is read here comes from anybody.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from PIL import Image

from mailslot_plugins.fax.coding import decode
from mailslot_plugins.fax.directory import Directory, NotTiffError, read_directories
from mailslot_plugins.fax.profile import WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_LENGTH: Final = 30_000
"""Lines of the longest page; some four metres, fine."""

MAX_WIDTH: Final = 6_000
"""Pixels of the widest: A3 at 408 dpi has 4864 (RFC 3949 section 4.2.1)."""

_INCH_IN_CENTIMETRES: Final = 2.54

_OTHERS: Final[Mapping[int, str]] = {
    9: "profile J (JBIG)",
    10: "profile L (lossless colour, JBIG)",
    34661: "JBIG",
    34663: "profile J (JBIG)",
    34665: "profile M (mixed raster content)",
}
"""What Compression tells of the profiles that are not read (RFC 3949 sections 5 to 8)."""

_BILEVEL: Final = frozenset({1, 2, 3, 4, 32773})
_ITULAB: Final = 10
_LAYERS: Final = 16
"""The bit of NewSubfileType that profile M sets (RFC 3949 section 8.2.3)."""


class UnreadableFaxError(ValueError):
    """A fax that cannot be shown; its text says why, for a person."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a fax.

    Attributes:
        image: mode ``1``, 255 is white.
        x, y: pixels an inch across and down.
        facsimile: whether it came in a coding of facsimile; else it is some other TIFF image.
    """

    image: Image.Image
    x: float
    y: float
    facsimile: bool = True


def read_pages(data: bytes) -> Iterator[Page]:
    """Return the pages of a TIFF file, one after the other.

    Args:
        data: the whole file.

    Raises:
        UnreadableFaxError: it cannot be read, or a page of it.
    """
    number = 0
    try:
        for number, directory in enumerate(read_directories(data), start=1):
            yield _page(data, directory, number)
    except NotTiffError as error:
        raise UnreadableFaxError(f"The fax cannot be read after {number} pages: {error}.") from error
    if not number:
        raise UnreadableFaxError("The fax has no pages.")


def _page(data: bytes, directory: Directory, number: int) -> Page:
    compression = directory.number(259, 1)
    other = _other_profile(directory, compression)
    if other:
        raise UnreadableFaxError(f"Page {number} of the fax is in {other}, which this device does not read.")
    width, length = directory.number(256, 0), directory.number(257, 0)
    bilevel = directory.number(258, 1) == 1 and directory.number(277, 1) == 1
    x, y = _resolution(directory, width)
    try:
        if bilevel and compression in _BILEVEL and 322 not in directory.values:
            return Page(_bilevel(data, directory, compression, (width, length)), x, y)
        return Page(_any(data, number), x, y, facsimile=False)
    except Exception as error:
        # Pillow raises whatever a hostile file makes it stumble over: struct.error, KeyError, SyntaxError, and more.
        raise UnreadableFaxError(f"Page {number} of the fax cannot be read: {error}.") from error


def _other_profile(directory: Directory, compression: int) -> str | None:
    if directory.number(254, 0) & _LAYERS:
        return "profile M (mixed raster content)"
    if compression == 7 and directory.number(262, 0) == _ITULAB:
        return "profile C (colour)"
    return _OTHERS.get(compression)


def _resolution(directory: Directory, width: int) -> tuple[float, float]:
    """Return pixels an inch, as profile S has them where the file tells nothing that can be."""
    x, y = directory.fraction(282), directory.fraction(283)
    if directory.number(296, 2) == 3:
        x, y = x * _INCH_IN_CENTIMETRES, y * _INCH_IN_CENTIMETRES
    plausible = 50 <= x <= 2400 and 50 <= y <= 2400
    if plausible:
        return x, y
    return (204.0, 196.0) if width == WIDTH else (200.0, 200.0)


def _bilevel(data: bytes, directory: Directory, compression: int, size: tuple[int, int]) -> Image.Image:
    width, length = size
    if not 0 < width <= MAX_WIDTH or not 0 < length <= MAX_LENGTH:
        raise ValueError(f"its size, {width} × {length}, cannot be")
    white = directory.number(262, 0)
    if white not in {0, 1}:
        raise ValueError(f"its photometric interpretation, {white}, is not one of facsimile")
    options = directory.number(292 if compression == 3 else 293, 0)
    reverse = directory.number(266, 1) == 2
    rows = min(directory.number(278, length) or length, length)
    image = Image.new("1", size, 255)
    line = 0
    for strip in _strips(data, directory):
        lines = min(rows, length - line)
        if lines <= 0:
            break
        part = decode(strip, (width, lines), compression, options, white=white, reverse=reverse)
        image.paste(part, (0, line))
        line += lines
    if not line:
        raise ValueError("it has no content")
    return image


def _strips(data: bytes, directory: Directory) -> Iterator[bytes]:
    offsets, counts = directory.numbers(273), directory.numbers(279)
    for index, offset in enumerate(offsets):
        count = counts[index] if index < len(counts) else 0
        # A single strip without a length, or with none, reaches to the end of the file.
        octets = data[offset : offset + count] if count else data[offset:] if len(offsets) == 1 else b""
        if octets:
            yield octets


def _any(data: bytes, number: int) -> Image.Image:
    """Return a page that is no facsimile as Pillow reads it, in black and white."""
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
        image.seek(number - 1)
        if image.width > 4 * MAX_WIDTH or image.height > MAX_LENGTH or image.width * image.height > 100_000_000:
            raise ValueError(f"its size, {image.width} × {image.height}, is too large")
        return image.convert("L").convert("1")
