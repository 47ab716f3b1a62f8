"""Renders documents as fax pages: black and white, 1728 pixels across.

Meant for a process of its own, because PDFium is not thread-safe and documents come from anybody.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final, cast

from PIL import Image, ImageChops, ImageDraw

from mailslot_plugins.fax.halftone import to_black_and_white
from mailslot_plugins.fax.profile import WIDTH, Resolution
from mailslot_plugins.intake.fonts import Fonts
from mailslot_plugins.intake.pdf import POINTS_PER_INCH, open_pdf, render_page
from mailslot_plugins.intake.pictures import (
    FORMATS,
    DamagedPictureError,
    PictureKind,
    read_picture,
    resize,
)
from mailslot_plugins.intake.refusal import IntakeRefusedError
from mailslot_plugins.intake.text_pages import decode_text, text_pages
from mailslot_plugins.intake.tiff import tiff_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot_plugins.intake.kinds import Kind

MAX_INCHES: Final = 40.0
"""The longest page; longer ones are scaled down."""

DPI: Final = 204
A4_PIXELS: Final = (WIDTH, 2385)
"""Pixels of an A4 page, for text."""

_HEADER_INCHES: Final = 0.13
"""Inches of the line at the top of a page."""


def render_pages(
    data: bytes, kind: Kind, resolution: Resolution, max_pages: int, notes: list[str] | None = None
) -> Iterator[Image.Image]:
    """Render a document as fax pages.

    Args:
        data: a PDF, TIFF, image or text file.
        kind: its kind.
        resolution: the resolution of the fax.
        max_pages: the most pages.
        notes: gets a sentence about missing fonts; None to ignore them.

    Returns:
        images of mode ``1``, 1728 pixels wide, one at a time.

    Raises:
        IntakeRefusedError: the document cannot be read, or has too many pages.
        DamagedDocumentError: the end of the document is missing; the rest of it was returned.
    """
    for number, image in enumerate(_grey_pages(data, kind, notes), start=1):
        if number > max_pages:
            raise IntakeRefusedError(f"The document has more than {max_pages} pages.")
        yield to_black_and_white(fit_to_width(image, resolution))


def _grey_pages(data: bytes, kind: Kind, notes: list[str] | None) -> Iterator[tuple[Image.Image, float, float]]:
    """Return pages in grey, each with its pixels per inch, across and down."""
    if kind == "pdf":
        yield from _pdf_pages(data)
    elif kind == "tiff":
        for page in tiff_pages(data, "L"):
            yield page.image.convert("L"), page.x, page.y
    elif kind == "text":
        for sheet in text_pages(decode_text(data), A4_PIXELS, DPI, notes):
            yield sheet.convert("L"), DPI, DPI
    elif kind not in FORMATS:
        raise IntakeRefusedError("Documents of this kind cannot be faxed.")
    else:
        yield from _picture_page(data, cast("PictureKind", kind))


def _pdf_pages(data: bytes) -> Iterator[tuple[Image.Image, float, float]]:
    with open_pdf(data) as document:
        for number in range(len(document)):
            page = document[number]
            # Twice the resolution of a fax, so that thin lines survive; less for huge pages.
            dpi = min(408.0, MAX_INCHES * 204 * POINTS_PER_INCH / max(page.get_width(), page.get_height(), 1.0))
            image = _thicken(render_page(page, dpi, grey=True))
            page.close()
            yield image, dpi, dpi


def _thicken(image: Image.Image) -> Image.Image:
    """Return a page with strokes one pixel wider: a hairline would become grey when scaled down."""
    for across, down in ((1, 0), (0, 1)):
        shifted = ImageChops.offset(image, across, down)
        # The offset wraps around: clear what came in at the other side.
        shifted.paste(255, (0, 0, across or image.width, down or image.height))
        image = ImageChops.darker(image, shifted)
    return image


def _picture_page(data: bytes, kind: PictureKind) -> Iterator[tuple[Image.Image, float, float]]:
    damage_error: DamagedPictureError | None = None
    try:
        image = read_picture(io.BytesIO(data), kind, "L")
    except DamagedPictureError as error:
        image, damage_error = error.image, error
    # A picture is scaled to the width of the page.
    dpi = max(image.width, image.height * 210 / 297) / (WIDTH / 204)
    yield image, dpi, dpi
    if damage_error is not None:
        raise damage_error


def fit_to_width(page: tuple[Image.Image, float, float], resolution: Resolution) -> Image.Image:
    """Return a page in its own size, scaled down if it is wider than a fax, centred on 1728 pixels.

    Args:
        page: the image, and its pixels per inch, across and down.
        resolution: the resolution of the fax.
    """
    image, x, y = page
    width, height = image.width / x, image.height / y
    if width > height and width > WIDTH / resolution.x:
        image, width, height = image.transpose(Image.Transpose.ROTATE_90), height, width
    shrink = min(1.0, WIDTH / resolution.x / width, MAX_INCHES / height)
    size = (
        min(WIDTH, max(1, round(width * shrink * resolution.x))),
        max(1, round(height * shrink * resolution.y)),
    )
    scaled = image if image.size == size else resize(image, size)
    if size[0] == WIDTH:
        return scaled
    sheet = Image.new("L", (WIDTH, size[1]), 255)
    sheet.paste(scaled, ((WIDTH - size[0]) // 2, 0))
    return sheet


def with_header(image: Image.Image, resolution: Resolution, left: str, right: str) -> Image.Image:
    """Return a page with a line of text above it: the sender, the time and the page number.

    Args:
        image: mode ``1``.
        resolution: the resolution of the page.
        left: the text at the left, shortened if it is too long.
        right: the text at the right.
    """
    height = round(_HEADER_INCHES * 204)
    header = Image.new("L", (WIDTH, height), 255)
    draw = ImageDraw.Draw(header)
    fonts = Fonts(left + right, height - 6)
    right_start = WIDTH - 40 - round(fonts.width(right))
    while left and fonts.width(left) > right_start - 60:
        left = left[:-1]
    fonts.draw(draw, (40, 0), left)
    fonts.draw(draw, (right_start, 0), right)
    lines = max(8, round(_HEADER_INCHES * resolution.y))
    line = header.resize((WIDTH, lines), Image.Resampling.BOX).convert("1", dither=Image.Dither.NONE)
    page = Image.new("1", (WIDTH, image.height + lines), 255)
    page.paste(line, (0, 0))
    page.paste(image, (0, lines))
    return page
