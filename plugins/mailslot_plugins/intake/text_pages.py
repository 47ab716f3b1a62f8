"""Text laid out on pages, as images: nothing in it can command a printer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw

from mailslot_plugins.intake.fonts import Fonts, say_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

_POINTS: Final = 10.5
_MARGIN: Final = 0.8
"""Inches that stay white on each side."""

_TAB: Final = 8
_MOST_LINES: Final = 20_000


def text_pages(text: str, size: tuple[int, int], dpi: int, notes: list[str] | None = None) -> Iterator[Image.Image]:
    """Return pages of mode ``1``, 255 is white.

    Args:
        text: what stands on them; a form feed begins a new page.
        size: of a page, in pixels.
        dpi: pixels an inch.
        notes: takes a sentence about a font that is missing; None where nobody wants to know.
    """
    fonts = Fonts(text, round(_POINTS * dpi / 72))
    if notes is not None and fonts.missing:
        notes.append(say_missing(fonts.missing))
    margin = round(_MARGIN * dpi)
    step = round(_POINTS * 1.3 * dpi / 72)
    many = max(1, (size[1] - 2 * margin) // step)
    for lines in _sheets(text, fonts, size[0] - 2 * margin, many):
        page = Image.new("L", size, 255)
        draw = ImageDraw.Draw(page)
        for number, line in enumerate(lines):
            fonts.draw(draw, (margin, margin + number * step), line)
        yield page.point([0] * 150 + [255] * 106).convert("1", dither=Image.Dither.NONE)


def _sheets(text: str, fonts: Fonts, width: int, many: int) -> Iterator[list[str]]:
    sheet: list[str] = []
    for line in _lines(text, fonts, width):
        if line is None or len(sheet) == many:
            yield sheet
            sheet = []
        if line is not None:
            sheet.append(line)
    if sheet:
        yield sheet


def _lines(text: str, fonts: Fonts, width: int) -> Iterator[str | None]:
    """Return lines that fit; None where a new page begins."""
    for number, sheet in enumerate(text.split("\f")):
        if number:
            yield None
        for line in sheet.rstrip().splitlines()[:_MOST_LINES]:
            shown = "".join(each if each.isprintable() else " " for each in line.rstrip().expandtabs(_TAB))
            yield from _wrapped(shown, fonts, width)


def _wrapped(line: str, fonts: Fonts, width: int) -> Iterator[str]:
    # A letter is at least a fifth of the font's height wide: more of them than that never fit.
    most = max(1, width // max(1, round(fonts.width("i"))))
    while line:
        low, high = 1, min(len(line), most)
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
