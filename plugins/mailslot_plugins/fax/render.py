"""Documents made into pages of a fax: black and white, 1728 pixels across.

Meant for a process of its own, since pypdfium2 bears one thread only and documents come from anybody.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final, cast

from PIL import Image, ImageChops, ImageDraw

from mailslot_plugins.fax.halftone import black_and_white
from mailslot_plugins.fax.profile import WIDTH, Resolution
from mailslot_plugins.fax.read import DamagedFaxError, UnreadableFaxError
from mailslot_plugins.intake.fonts import Fonts
from mailslot_plugins.intake.pdf import POINTS, UnreadablePdfError, open_pdf, render_page
from mailslot_plugins.intake.pictures import (
    FORMATS,
    DamagedPictureError,
    PictureKind,
    UnreadablePictureError,
    read_picture,
    resized,
)
from mailslot_plugins.intake.text_pages import text_pages
from mailslot_plugins.intake.tiff import UnreadableTiffError, tiff_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot_plugins.intake.kinds import Kind

MAX_INCHES: Final = 40.0
"""The longest page; what is longer is made smaller."""

DPI: Final = 204
SHEET: Final = (WIDTH, 2385)
"""Pixels of a sheet of A4 that text is laid out on."""

_BAND: Final = 0.13
"""Inches for the line at the head of a page."""


def pages_of(
    data: bytes, kind: Kind, resolution: Resolution, max_pages: int, notes: list[str] | None = None
) -> Iterator[Image.Image]:
    """Return a document's pages as a fax has them.

    Args:
        data: a PDF, a TIFF of any kind, an image, or plain text.
        kind: which of them.
        resolution: of the fax.
        max_pages: how many there may be.
        notes: takes a sentence about a font that is missing; None where nobody wants to know.

    Returns:
        images of mode ``1``, 1728 pixels wide, one after the other.

    Raises:
        DamagedFaxError: a picture's end is missing; what came of it was given.
        UnreadableFaxError: it cannot be read, or has too many pages.
    """
    for number, image in enumerate(_greys(data, kind, notes), start=1):
        if number > max_pages:
            raise UnreadableFaxError(f"The document has more than {max_pages} pages.")
        yield black_and_white(fitted(image, resolution))


def _greys(data: bytes, kind: Kind, notes: list[str] | None) -> Iterator[tuple[Image.Image, float, float]]:
    """Return pages in grey, each with its pixels an inch across and down."""
    if kind == "pdf":
        yield from _pdf(data)
    elif kind == "tiff":
        try:
            for page in tiff_pages(data, "L"):
                yield page.image.convert("L"), page.x, page.y
        except UnreadableTiffError as error:
            raise UnreadableFaxError(str(error)) from error
    elif kind == "text":
        for sheet in text_pages(text_of(data), SHEET, DPI, notes):
            yield sheet.convert("L"), DPI, DPI
    elif kind not in FORMATS:
        raise UnreadableFaxError("It is no document that can be faxed.")
    else:
        yield from _picture(data, cast("PictureKind", kind))


def text_of(data: bytes) -> str:
    """Return the text of a file, in UTF-8 or else in Latin-1."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _pdf(data: bytes) -> Iterator[tuple[Image.Image, float, float]]:
    try:
        with open_pdf(data) as document:
            for number in range(len(document)):
                page = document[number]
                # Twice the pixels of the finest fax, so that thin lines survive; less for huge pages.
                dots = min(408.0, MAX_INCHES * 204 * POINTS / max(page.get_width(), page.get_height(), 1.0))
                image = _thicker(render_page(page, dots, grey=True))
                page.close()
                yield image, dots, dots
    except UnreadablePdfError as error:
        raise UnreadableFaxError(str(error)) from error


def _thicker(image: Image.Image) -> Image.Image:
    """Return a page whose strokes are one pixel wider: a hairline would be a shade of grey once it is made smaller."""
    for across, down in ((1, 0), (0, 1)):
        moved = ImageChops.offset(image, across, down)
        # What went out on one side came in on the other.
        moved.paste(255, (0, 0, across or image.width, down or image.height))
        image = ImageChops.darker(image, moved)
    return image


def _picture(data: bytes, kind: PictureKind) -> Iterator[tuple[Image.Image, float, float]]:
    damage: DamagedPictureError | None = None
    try:
        image = read_picture(io.BytesIO(data), kind, "L")
    except DamagedPictureError as error:
        image, damage = error.image, error
    except UnreadablePictureError as error:
        raise UnreadableFaxError(str(error)) from error
    # A picture that is no scan is as wide as the page.
    dots = max(image.width, image.height * 210 / 297) / (WIDTH / 204)
    yield image, dots, dots
    if damage is not None:
        raise DamagedFaxError(str(damage)) from damage


def fitted(page: tuple[Image.Image, float, float], resolution: Resolution) -> Image.Image:
    """Return a page in its own size, made smaller where it is wider than a fax, in the middle of 1728 pixels.

    Args:
        page: the image, and its pixels an inch across and down.
        resolution: of the fax.
    """
    image, x, y = page
    wide, high = image.width / x, image.height / y
    if wide > high and wide > WIDTH / resolution.x:
        image, wide, high = image.transpose(Image.Transpose.ROTATE_90), high, wide
    shrink = min(1.0, WIDTH / resolution.x / wide, MAX_INCHES / high)
    size = (
        min(WIDTH, max(1, round(wide * shrink * resolution.x))),
        max(1, round(high * shrink * resolution.y)),
    )
    scaled = image if image.size == size else resized(image, size)
    if size[0] == WIDTH:
        return scaled
    sheet = Image.new("L", (WIDTH, size[1]), 255)
    sheet.paste(scaled, ((WIDTH - size[0]) // 2, 0))
    return sheet


def with_header(image: Image.Image, resolution: Resolution, left: str, right: str) -> Image.Image:
    """Return a page with a line of text above it: who sent it and when, and which page it is.

    Args:
        image: mode ``1``.
        resolution: of the page.
        left: the text at the left, cut where it is too long.
        right: the text at the right.
    """
    dots = round(_BAND * 204)
    band = Image.new("L", (WIDTH, dots), 255)
    draw = ImageDraw.Draw(band)
    fonts = Fonts(left + right, dots - 6)
    reserved = WIDTH - 40 - round(fonts.width(right))
    while left and fonts.width(left) > reserved - 60:
        left = left[:-1]
    fonts.draw(draw, (40, 0), left)
    fonts.draw(draw, (reserved, 0), right)
    lines = max(8, round(_BAND * resolution.y))
    line = band.resize((WIDTH, lines), Image.Resampling.BOX).convert("1", dither=Image.Dither.NONE)
    page = Image.new("1", (WIDTH, image.height + lines), 255)
    page.paste(line, (0, 0))
    page.paste(image, (0, lines))
    return page
