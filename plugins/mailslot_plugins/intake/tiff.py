"""Reads the pages of TIFF files for faxes, prints and thumbnails.

Pages in facsimile codings are read strip by strip, because devices write unusual files and lines arrive damaged. Other
pages are read with libtiff, or with Pillow if libtiff cannot read them. For the confined process.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast

from PIL import Image

from mailslot_plugins.fax.coding import decode
from mailslot_plugins.fax.profile import WIDTH
from mailslot_plugins.fax.tiff_directory import Directory, NotTiffError, read_directories
from mailslot_plugins.intake.libtiff import LibtiffError, TiffFile, open_tiff
from mailslot_plugins.intake.refusal import DamagedDocumentError, IntakeRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_LENGTH: Final = 30_000
"""Lines of the longest page: some four metres in fine resolution."""

MAX_WIDTH: Final = 6_000
"""Pixels of the widest fax page: A3 at 408 dpi has 4864 (RFC 3949 section 4.2.1)."""

MAX_PIXELS: Final = 100_000_000
"""The most pixels of a page in another coding."""

_INCH_IN_CENTIMETRES: Final = 2.54

_UNSUPPORTED_PROFILES: Final[Mapping[int, str]] = {
    9: "profile J (JBIG)",
    10: "profile L (lossless colour, JBIG)",
    34661: "JBIG",
    34663: "profile J (JBIG)",
    34665: "profile M (mixed raster content)",
}
"""The unsupported profiles by Compression (RFC 3949 sections 5 to 8)."""

_BILEVEL: Final = frozenset({1, 2, 3, 4, 32773})
_ITULAB: Final = 10
_LAYERED: Final = 16
"""The bit of NewSubfileType that profile M sets (RFC 3949 section 8.2.3)."""

_TRANSPOSITIONS: Final[Mapping[int, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that turns a page upright, by Orientation (TIFF 6.0 section 8)."""

_SIDEWAYS: Final = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, slots=True)
class TiffPage:
    """A page, upright.

    Attributes:
        image: of mode ``1`` if it is bilevel, else of the requested mode; on a white background.
        x, y: pixels per inch, across and down.
        is_facsimile: whether it was in a facsimile coding; otherwise it was another TIFF image.
    """

    image: Image.Image
    x: float
    y: float
    is_facsimile: bool


def tiff_pages(
    data: bytes, mode: Literal["L", "RGB"], max_pixels: int = MAX_PIXELS, noun: str = "fax"
) -> Iterator[TiffPage]:
    """Return the pages of a TIFF file, one at a time.

    Args:
        data: the whole file.
        mode: the mode of pages that are not bilevel.
        max_pixels: the most pixels of a page.
        noun: the word for the file in sentences, for example ``fax``.

    Raises:
        IntakeRefusedError: the file or one of its pages cannot be read.
        DamagedDocumentError: the file is damaged behind the pages that were returned.
    """
    number = 0
    max_pixels = min(max_pixels, MAX_PIXELS)
    with open_tiff(data) as file:
        try:
            for number, directory in enumerate(read_directories(data), start=1):
                try:
                    page = _page(data, file, directory, number, mode, max_pixels)
                except ValueError as error:
                    raise IntakeRefusedError(f"Page {number} of the {noun} {error}.") from error
                yield page
        except NotTiffError as error:
            if number:
                pages = "1 page" if number == 1 else f"{number} pages"
                raise DamagedDocumentError(f"The {noun} is damaged after {pages}: {error}.") from error
            raise IntakeRefusedError(f"Page 1 of the {noun} cannot be read: {error}.") from error
    if not number:
        raise IntakeRefusedError(f"The {noun} has no pages.")


def _page(data: bytes, file: TiffFile, directory: Directory, number: int, mode: str, max_pixels: int) -> TiffPage:
    """Decode a page.

    Raises:
        ValueError: it cannot be decoded; the text completes a sentence that begins with the page.
    """
    compression = directory.number(259, 1)
    profile = _unsupported_profile(directory, compression)
    if profile and (directory.number(254, 0) & _LAYERED or compression not in _UNSUPPORTED_PROFILES):
        raise ValueError(f"is in {profile}, which this device does not read")
    width, length = directory.number(256, 0), directory.number(257, 0)
    x, y = _resolution(directory, width)
    bilevel = directory.number(258, 1) == 1 and directory.number(277, 1) == 1 and directory.number(262, 0) in {0, 1}
    is_facsimile = bilevel and compression in _BILEVEL and 322 not in directory.values
    try:
        _check_size((width, length), max_pixels, is_facsimile=is_facsimile)
        image = _decode_facsimile(data, directory) if is_facsimile else None
        image = image or _decode_any(data, file, directory, number, mode, max_pixels)
    except ValueError as error:
        reason = f"is in {profile}, which this device does not read" if profile else f"cannot be read: {error}"
        raise ValueError(reason) from error
    if bilevel and image.mode != "1":
        image = image.convert("1", dither=Image.Dither.NONE)
    if directory.number(274, 1) in _SIDEWAYS:
        x, y = y, x
    return TiffPage(image, x, y, is_facsimile)


def _check_size(size: tuple[int, int], max_pixels: int, *, is_facsimile: bool) -> None:
    width, length = size
    if not width or not length:
        raise ValueError(f"its size, {width} × {length}, is invalid")
    if is_facsimile and width <= MAX_WIDTH and length <= MAX_LENGTH:
        return
    if width > 4 * MAX_WIDTH or length > MAX_LENGTH:
        raise ValueError(f"its size, {width} × {length}, is invalid: the maximum is {4 * MAX_WIDTH} × {MAX_LENGTH}")
    if width * length > max_pixels:
        raise ValueError(f"its size, {width} × {length}, is invalid: the maximum is {max_pixels:,} pixels")


def _turn_upright(image: Image.Image, directory: Directory) -> Image.Image:
    transposition = _TRANSPOSITIONS.get(directory.number(274, 1))
    return image if transposition is None else image.transpose(transposition)


def _decode_any(
    data: bytes, file: TiffFile, directory: Directory, number: int, mode: str, max_pixels: int
) -> Image.Image:
    """Decode a page that is not in a facsimile coding, upright.

    Raises:
        ValueError: it cannot be decoded; the text is for a person.
    """
    try:
        return _turn_upright(file.page(directory.offset, mode, max_pixels), directory)
    except LibtiffError as error:
        why = error
    try:
        return _decode_with_pillow(data, number, mode)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever a hostile file makes Pillow stumble over: struct.error, KeyError, and more
        details = f"compression {directory.number(259, 1)}, photometric interpretation {directory.number(262, 0)}"
        raise ValueError(f"it is damaged, or of a form that this device does not know ({details})") from why


def _unsupported_profile(directory: Directory, compression: int) -> str | None:
    if directory.number(254, 0) & _LAYERED:
        return "profile M (mixed raster content)"
    if compression == 7 and directory.number(262, 0) == _ITULAB:
        return "profile C (colour)"
    return _UNSUPPORTED_PROFILES.get(compression)


def _resolution(directory: Directory, width: int) -> tuple[float, float]:
    """Return the pixels per inch; the defaults of profile S if the file gives no plausible values."""
    x, y = directory.fraction(282), directory.fraction(283)
    if directory.number(296, 2) == 3:
        x, y = x * _INCH_IN_CENTIMETRES, y * _INCH_IN_CENTIMETRES
    plausible = 50 <= x <= 2400 and 50 <= y <= 2400
    if plausible:
        return x, y
    return (204.0, 196.0) if width == WIDTH else (200.0, 200.0)


def _decode_facsimile(data: bytes, directory: Directory) -> Image.Image | None:
    """Decode a page in a facsimile coding, upright; None if it is too damaged."""
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
    return _turn_upright(image, directory)


def _strips(data: bytes, directory: Directory) -> Iterator[bytes]:
    offsets, counts = directory.numbers(273), directory.numbers(279)
    for index, offset in enumerate(offsets):
        count = counts[index] if index < len(counts) else 0
        # A single strip without a length, or of length 0, extends to the end of the file.
        octets = data[offset : offset + count] if count else data[offset:] if len(offsets) == 1 else b""
        if octets:
            yield octets


def _decode_with_pillow(data: bytes, number: int, mode: str) -> Image.Image:
    """Decode a page with Pillow, which turns it upright."""
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
        image.seek(number - 1)
        image.load()
        if image.mode in {"F", "I"}:
            # The range of such values is unknown: the actual range is mapped to black and white.
            low, high = cast("tuple[float, float]", image.getextrema())
            scale = 255 / (high - low) if high > low else 0.0
            return image.convert("F").point(lambda value: value * scale - low * scale).convert("L").convert(mode)
        return image.convert(mode)
