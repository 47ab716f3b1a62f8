"""Renders text as page images, so that nothing in it can act as a printer command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw

from mailslot_plugins.intake.fonts import Fonts, missing_font_sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

_POINTS: Final = 10.5
_MARGIN: Final = 0.8
"""Inches of margin on each side."""

_TAB: Final = 8
_MAX_LINES: Final = 20_000


def decode_text(data: bytes) -> str:
    """Decode the text of a file, as UTF-8 or else as Latin-1."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def text_pages(text: str, size: tuple[int, int], dpi: int, notes: list[str] | None = None) -> Iterator[Image.Image]:
    """Render text as pages of mode ``1``, in which 255 is white.

    Args:
        text: the text; a form feed begins a new page.
        size: the size of a page, in pixels.
        dpi: pixels per inch.
        notes: gets a sentence about missing fonts; None to ignore them.
    """
    fonts = Fonts(text, round(_POINTS * dpi / 72))
    if notes is not None and fonts.missing:
        notes.append(missing_font_sentence(fonts.missing))
    margin = round(_MARGIN * dpi)
    line_height = round(_POINTS * 1.3 * dpi / 72)
    lines_per_page = max(1, (size[1] - 2 * margin) // line_height)
    for lines in _split_into_pages(text, fonts, size[0] - 2 * margin, lines_per_page):
        page = Image.new("L", size, 255)
        draw = ImageDraw.Draw(page)
        for number, line in enumerate(lines):
            fonts.draw(draw, (margin, margin + number * line_height), line)
        yield page.point([0] * 150 + [255] * 106).convert("1", dither=Image.Dither.NONE)


def _split_into_pages(text: str, fonts: Fonts, width: int, lines_per_page: int) -> Iterator[list[str]]:
    page_lines: list[str] = []
    for line in _lines(text, fonts, width):
        if line is None or len(page_lines) == lines_per_page:
            yield page_lines
            page_lines = []
        if line is not None:
            page_lines.append(line)
    if page_lines:
        yield page_lines


def _lines(text: str, fonts: Fonts, width: int) -> Iterator[str | None]:
    """Return lines that fit the width; None begins a new page."""
    for number, page_lines in enumerate(text.split("\f")):
        if number:
            yield None
        for line in page_lines.rstrip().splitlines()[:_MAX_LINES]:
            printable = "".join(each if each.isprintable() else " " for each in line.rstrip().expandtabs(_TAB))
            yield from _wrap(printable, fonts, width)


def _wrap(line: str, fonts: Fonts, width: int) -> Iterator[str]:
    # No line has more characters than fit with the narrowest letter.
    max_characters = max(1, width // max(1, round(fonts.width("i"))))
    while line:
        low, high = 1, min(len(line), max_characters)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fonts.width(line[:middle]) <= width else (low, middle - 1)
        space = line.rfind(" ", 0, low + 1) if low < len(line) else -1
        end = space if space > 0 else low
        yield line[:end]
        line = line[end:].lstrip(" ") if end < len(line) else ""
        if not line:
            return
    yield ""
