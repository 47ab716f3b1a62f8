"""Sample pages for faxes."""

from __future__ import annotations

from PIL import Image, ImageDraw


def text_page(number: int, *, lines: int = 2292) -> Image.Image:
    """A page of text in black and white, 1728 pixels wide."""
    image = Image.new("1", (1728, lines), 255)
    draw = ImageDraw.Draw(image)
    for y in range(100, lines - 100, 60):
        draw.text((100, y), f"page {number}, line {y}: the quick brown fox", fill=0, font_size=40)
    return image
