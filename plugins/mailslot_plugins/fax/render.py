"""Documents made into pages of a fax: black and white, 1728 pixels across.

Meant for a process of its own, since pypdfium2 bears one thread only and documents come from anybody.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final, cast

import pypdfium2
from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError

from mailslot_plugins.fax.profile import WIDTH, Resolution
from mailslot_plugins.fax.read import UnreadableFaxError, read_pages
from mailslot_plugins.intake.fonts import load_font
from mailslot_plugins.intake.kinds import LOOKED_AT, kind_of
from mailslot_plugins.intake.text_pages import text_pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POINTS: Final = 72
MAX_INCHES: Final = 40.0
"""The longest page; what is longer is made smaller."""

DPI: Final = 204
SHEET: Final = (WIDTH, 2385)
"""Pixels of a sheet of A4 that text is laid out on."""

_BAND: Final = 0.13
"""Inches for the line at the head of a page."""

_GREYS: Final = 0.06
"""The share of pixels between black and white from which on a page is taken for a picture."""


_CONTRAST: Final = [min(255, max(0, round((grey - 32) * 255 / 176))) for grey in range(256)]


def pages_of(data: bytes, resolution: Resolution, max_pages: int) -> Iterator[Image.Image]:
    """Return a document's pages as a fax has them.

    Args:
        data: a PDF, a TIFF of any kind, an image, or plain text.
        resolution: of the fax.
        max_pages: how many there may be.

    Returns:
        images of mode ``1``, 1728 pixels wide, one after the other.

    Raises:
        UnreadableFaxError: it cannot be read, or has too many pages.
    """
    for number, image in enumerate(_greys(data), start=1):
        if number > max_pages:
            raise UnreadableFaxError(f"The document has more than {max_pages} pages.")
        yield black_and_white(fitted(image, resolution))


def _greys(data: bytes) -> Iterator[tuple[Image.Image, float, float]]:
    """Return pages in grey, each with its pixels an inch across and down."""
    kind = kind_of(data[:LOOKED_AT])
    if kind == "pdf":
        yield from _pdf(data)
    elif kind == "tiff":
        for page in read_pages(data):
            yield page.image.convert("L"), page.x, page.y
    elif kind == "text":
        for sheet in text_pages(text_of(data), SHEET, DPI):
            yield sheet.convert("L"), DPI, DPI
    else:
        yield _picture(data)


def text_of(data: bytes) -> str:
    """Return the text of a file, in UTF-8 or else in Latin-1."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _pdf(data: bytes) -> Iterator[tuple[Image.Image, float, float]]:
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise UnreadableFaxError(f"The PDF cannot be opened: {error}.") from error
    with document:
        for number in range(len(document)):
            try:
                page = document[number]
                # Twice the pixels of the finest fax, so that thin lines survive; less for huge pages.
                dots = min(408.0, MAX_INCHES * 204 * POINTS / max(page.get_width(), page.get_height(), 1.0))
                # Its scale is a float by its documentation, and an int by its default.
                render = cast("Callable[..., Any]", page.render)
                image: Image.Image = render(scale=dots / POINTS, grayscale=True).to_pil()
                page.close()
            except pypdfium2.PdfiumError as error:
                raise UnreadableFaxError(f"Page {number + 1} of the PDF cannot be read: {error}.") from error
            yield image, dots, dots


def _picture(data: bytes) -> tuple[Image.Image, float, float]:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "GIF", "BMP", "WEBP"]) as opened:
            turned = ImageOps.exif_transpose(opened)
            image = Image.new("L", turned.size, 255)
            flat = turned.convert("RGBA")
            image.paste(flat.convert("L"), mask=flat.getchannel("A"))
    except UnidentifiedImageError as error:
        raise UnreadableFaxError("It is no document that can be faxed.") from error
    except Exception as error:
        # Pillow raises whatever a hostile file makes it stumble over: struct.error, KeyError, SyntaxError, and more.
        raise UnreadableFaxError(f"The image cannot be read: {error}.") from error
    # A picture that is no scan is as wide as the page.
    dots = max(image.width, image.height * 210 / 297) / (WIDTH / 204)
    return image, dots, dots


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
    scaled = image if image.size == size else image.convert("L").resize(size, Image.Resampling.BOX)
    if size[0] == WIDTH:
        return scaled
    sheet = Image.new("L", (WIDTH, size[1]), 255)
    sheet.paste(scaled, ((WIDTH - size[0]) // 2, 0))
    return sheet


def black_and_white(image: Image.Image) -> Image.Image:
    """Return an image in black and white: text by a threshold, pictures by dots (Floyd and Steinberg)."""
    if image.mode == "1":
        return image
    histogram = image.convert("L").histogram()
    between = sum(histogram[64:192]) / max(1, sum(histogram))
    if between > _GREYS:
        # Paper is never quite white, and dots all over it would make a fax three times as long.
        return image.convert("L").point(_CONTRAST).convert("1")
    return image.convert("L").point([0] * 150 + [255] * 106).convert("1", dither=Image.Dither.NONE)


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
    font = load_font(dots - 6)
    reserved = WIDTH - 40 - round(draw.textlength(right, font=font))
    while left and draw.textlength(left, font=font) > reserved - 60:
        left = left[:-1]
    draw.text((40, 0), left, fill=0, font=font)
    draw.text((reserved, 0), right, fill=0, font=font)
    lines = max(8, round(_BAND * resolution.y))
    line = band.resize((WIDTH, lines), Image.Resampling.BOX).convert("1", dither=Image.Dither.NONE)
    page = Image.new("1", (WIDTH, image.height + lines), 255)
    page.paste(line, (0, 0))
    page.paste(image, (0, lines))
    return page
