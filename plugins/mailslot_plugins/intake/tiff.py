"""The pages of TIFF files, read in one way for faxes, prints and small pictures.

Pages in the codings of facsimile are read strip by strip, since devices write them oddly and lines of them arrive
damaged. All others are read as libtiff shows them, and what it does not show as Pillow does. For the process of its
own: what is read here comes from anybody.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast

from PIL import Image

from mailslot_plugins.fax.coding import decode
from mailslot_plugins.fax.directory import Directory, NotTiffError, read_directories
from mailslot_plugins.fax.profile import WIDTH
from mailslot_plugins.intake.libtiff import NotShownError, TiffFile, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_LENGTH: Final = 30_000
"""Lines of the longest page; some four metres, fine."""

MAX_WIDTH: Final = 6_000
"""Pixels of the widest page of a fax: A3 at 408 dpi has 4864 (RFC 3949 section 4.2.1)."""

MAX_PIXELS: Final = 100_000_000
"""Pixels of a page that is no facsimile."""

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

_TURNS: Final[Mapping[int, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What sets a page upright, by its Orientation (TIFF 6.0 section 8)."""

_SIDEWAYS: Final = frozenset({5, 6, 7, 8})


class UnreadableTiffError(ValueError):
    """A TIFF file that cannot be shown; its text says why, for a person."""


class DamagedEndError(UnreadableTiffError):
    """Behind the last page that is given, the file is damaged: whether others followed, nobody knows."""


@dataclass(frozen=True, slots=True)
class TiffPage:
    """A page, upright.

    Attributes:
        image: of mode ``1`` where it is black and white, else of the mode that was asked for; on white paper.
        x, y: pixels an inch across and down.
        facsimile: whether it came in a coding of facsimile; else it is some other TIFF image.
    """

    image: Image.Image
    x: float
    y: float
    facsimile: bool


def tiff_pages(
    data: bytes, mode: Literal["L", "RGB"], most: int = MAX_PIXELS, called: str = "fax"
) -> Iterator[TiffPage]:
    """Return the pages of a TIFF file, one after the other.

    Args:
        data: the whole file.
        mode: of the pages that are neither black nor white.
        most: the pixels that a page may have.
        called: what the file is to people.

    Raises:
        UnreadableTiffError: it cannot be read, or a page of it.
        DamagedEndError: what follows a page that was given cannot be read.
    """
    number = 0
    most = min(most, MAX_PIXELS)
    with opened(data) as file:
        try:
            for number, directory in enumerate(read_directories(data), start=1):
                try:
                    page = _page(data, file, directory, number, mode, most)
                except ValueError as error:
                    raise UnreadableTiffError(f"Page {number} of the {called} {error}.") from error
                yield page
        except NotTiffError as error:
            if number:
                pages = "1 page" if number == 1 else f"{number} pages"
                raise DamagedEndError(f"The {called} is damaged after {pages}: {error}.") from error
            raise UnreadableTiffError(f"Page 1 of the {called} cannot be read: {error}.") from error
    if not number:
        raise UnreadableTiffError(f"The {called} has no pages.")


def _page(data: bytes, file: TiffFile, directory: Directory, number: int, mode: str, most: int) -> TiffPage:
    """Return a page.

    Raises:
        ValueError: it cannot be shown; its text is the rest of a sentence that begins with the page.
    """
    compression = directory.number(259, 1)
    other = _other_profile(directory, compression)
    if other and (directory.number(254, 0) & _LAYERS or compression not in _OTHERS):
        raise ValueError(f"is in {other}, which this device does not read")
    width, length = directory.number(256, 0), directory.number(257, 0)
    x, y = _resolution(directory, width)
    bilevel = directory.number(258, 1) == 1 and directory.number(277, 1) == 1 and directory.number(262, 0) in {0, 1}
    facsimile = bilevel and compression in _BILEVEL and 322 not in directory.values
    try:
        _check_size((width, length), most, facsimile=facsimile)
        image = _facsimile(data, directory) if facsimile else None
        image = image or _any(data, file, directory, number, mode, most)
    except ValueError as error:
        said = f"is in {other}, which this device does not read" if other else f"cannot be read: {error}"
        raise ValueError(said) from error
    if bilevel and image.mode != "1":
        image = image.convert("1", dither=Image.Dither.NONE)
    if directory.number(274, 1) in _SIDEWAYS:
        x, y = y, x
    return TiffPage(image, x, y, facsimile)


def _check_size(size: tuple[int, int], most: int, *, facsimile: bool) -> None:
    width, length = size
    if not width or not length:
        raise ValueError(f"its size, {width} × {length}, cannot be")
    if facsimile and width <= MAX_WIDTH and length <= MAX_LENGTH:
        return
    if width > 4 * MAX_WIDTH or length > MAX_LENGTH:
        raise ValueError(f"its size, {width} × {length}, cannot be: the most is {4 * MAX_WIDTH} × {MAX_LENGTH}")
    if width * length > most:
        raise ValueError(f"its size, {width} × {length}, cannot be: the most are {most:,} pixels")


def _upright(image: Image.Image, directory: Directory) -> Image.Image:
    turn = _TURNS.get(directory.number(274, 1))
    return image if turn is None else image.transpose(turn)


def _any(data: bytes, file: TiffFile, directory: Directory, number: int, mode: str, most: int) -> Image.Image:
    """Return a page that is no facsimile, upright.

    Raises:
        ValueError: it cannot be decoded; its text is for a person.
    """
    try:
        return _upright(file.page(directory.offset, mode, most), directory)
    except NotShownError as error:
        why = error
    try:
        return _by_pillow(data, number, mode)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever a hostile file makes Pillow stumble over: struct.error, KeyError, and more
        form = f"compression {directory.number(259, 1)}, photometric interpretation {directory.number(262, 0)}"
        raise ValueError(f"it is damaged, or of a form that this device does not know ({form})") from why


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


def _facsimile(data: bytes, directory: Directory) -> Image.Image | None:
    """Return a page in a coding of facsimile, upright; None where it is damaged beyond what can be bridged."""
    compression = directory.number(259, 1)
    width, length = directory.number(256, 0), directory.number(257, 0)
    options = directory.number(292 if compression == 3 else 293, 0)
    white = directory.number(262, 0)
    reverse = directory.number(266, 1) == 2
    rows = min(directory.number(278, length) or length, length)
    image = Image.new("1", (width, length), 255)
    line = 0
    for strip in _strips(data, directory):
        lines = min(rows, length - line)
        if lines <= 0:
            break
        try:
            part = decode(strip, (width, lines), compression, options, white=white, reverse=reverse)
        except OSError:
            return None
        image.paste(part, (0, line))
        line += lines
    if not line:
        raise ValueError("it has no content")
    return _upright(image, directory)


def _strips(data: bytes, directory: Directory) -> Iterator[bytes]:
    offsets, counts = directory.numbers(273), directory.numbers(279)
    for index, offset in enumerate(offsets):
        count = counts[index] if index < len(counts) else 0
        # A single strip without a length, or with none, reaches to the end of the file.
        octets = data[offset : offset + count] if count else data[offset:] if len(offsets) == 1 else b""
        if octets:
            yield octets


def _by_pillow(data: bytes, number: int, mode: str) -> Image.Image:
    """Return a page as Pillow reads it, which turns it upright."""
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
        image.seek(number - 1)
        image.load()
        if image.mode in {"F", "I"}:
            # Nobody knows the range of such numbers; all of what is there is shown.
            low, high = cast("tuple[float, float]", image.getextrema())
            scale = 255 / (high - low) if high > low else 0.0
            return image.convert("F").point(lambda value: value * scale - low * scale).convert("L").convert(mode)
        return image.convert(mode)
