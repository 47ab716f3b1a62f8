"""The font that text on pages is drawn with."""

from __future__ import annotations

from typing import Final, TypeAlias

from PIL import ImageFont

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

_FONTS: Final = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf")
"""Fonts with more letters than the one that Pillow brings; the first that the system has is taken."""


def load_font(size: int) -> Font:
    """Return the font with the most letters that there is, so many pixels high."""
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size=size)
