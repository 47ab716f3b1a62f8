"""The fonts that text on pages is drawn with: for each character one that has it.

Which font has a character is what fontconfig knows; it is asked by its own program. Where there is none, or no font
has a character, that is said: boxes in its place tell nobody what is missing.
"""

from __future__ import annotations

import subprocess
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Final, TypeAlias

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterator

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

_FONTS: Final = ("DejaVuSans.ttf", "NotoSans-Regular.ttf")
"""Fonts with more letters than the one that Pillow brings; the first that the system has is taken."""

_MOST_FONTS: Final = 12
"""Fonts of one text."""

_SECONDS: Final = 20.0
_PLAIN: Final = 0xFF
"""The last character that every font has."""

_NOWHERE: Final = "\U0010fffe"
"""What is no character, and drawn as all that a font lacks."""

_REGULAR: Final = 80
_FORMAT: Final = r"%{file}\t%{index}\t%{weight}\t%{slant}\t%{charset}\n"
_ALIKE: Final = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH"})
_SCRIPTS: Final = frozenset(
    {
        "ARABIC",
        "HEBREW",
        "THAI",
        "DEVANAGARI",
        "BENGALI",
        "TAMIL",
        "TELUGU",
        "GEORGIAN",
        "ARMENIAN",
        "ETHIOPIC",
        "KHMER",
    }
)
"""How the names of characters begin (`unicodedata`), as fonts are named too."""


def load_font(size: int) -> Font:
    """Return the font that text is drawn with where it has the characters, so many pixels high."""
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size=size)


class Fonts:
    """The fonts of one text.

    Args:
        text: all of it.
        size: pixels of the height.

    Attributes:
        missing: the characters that no font has, in the order in which they come.
    """

    def __init__(self, text: str, size: int) -> None:
        self._size = size
        self._usual = load_font(size)
        self._others: dict[str, Font] = {}
        seen = dict.fromkeys(each for each in text if ord(each) > _PLAIN and each.isprintable() and not each.isspace())
        lacking = [each for each in seen if not _has(self._usual, each)]
        self._find(set(lacking))
        self.missing = "".join(each for each in lacking if each not in self._others)

    def width(self, text: str) -> float:
        """Return how many pixels a line takes."""
        return sum(font.getlength(run) for font, run in self._runs(text))

    def draw(self, draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str) -> None:
        """Draw a line in black.

        Args:
            draw: what is drawn on.
            place: of its left upper corner.
            text: the line.
        """
        across, down = place
        for font, run in self._runs(text):
            if isinstance(font, ImageFont.FreeTypeFont) and isinstance(self._usual, ImageFont.FreeTypeFont):
                # Fonts are of different heights, and a line has one base.
                draw.text((across, down + self._usual.getmetrics()[0]), run, fill=0, font=font, anchor="ls")
            else:
                draw.text((across, down), run, fill=0, font=font)
            across += font.getlength(run)

    def _runs(self, text: str) -> Iterator[tuple[Font, str]]:
        if not self._others:
            yield self._usual, text
            return
        for font, run in groupby(text, lambda each: self._others.get(each, self._usual)):
            yield font, "".join(run)

    def _find(self, lacking: set[str]) -> None:
        """Find a font for each of these characters, as few fonts as it takes."""
        left = {ord(each) for each in lacking}
        for _ in range(_MOST_FONTS):
            if not left:
                return
            found = sorted(_fonts_with(min(left)), key=lambda font: (-len(font.characters & left), font.oddness))
            font = self._opened(found)
            covered = found[0].characters & left if font is not None else {min(left)}
            left -= covered
            if font is not None:
                self._others.update(dict.fromkeys(map(chr, covered), font))

    def _opened(self, found: list[_Installed]) -> Font | None:
        """Return the first that can be opened."""
        for each in found[:3]:
            with suppress(OSError):
                return ImageFont.truetype(each.path, self._size, index=each.index)
        return None


def say_missing(characters: str) -> str:
    """Return a sentence that says which font is missing; empty where none is.

    Args:
        characters: those that no font has.
    """
    if not characters:
        return ""
    names = list(dict.fromkeys(name for each in characters if (name := _font_for(each))))
    return (
        f"No font on this device has the characters {characters[:20]}{'…' if len(characters) > 20 else ''}: "
        f"install one that has them, such as {' and '.join(names[:4]) or 'those of Noto'}."
    )


def _font_for(character: str) -> str:
    script = unicodedata.name(character, "").partition(" ")[0].partition("-")[0]
    if script in _ALIKE:
        return "Noto Sans CJK"
    return f"Noto Sans {script.title()}" if script in _SCRIPTS else ""


@dataclass(frozen=True, slots=True)
class _Installed:
    """A font of the system: its file, which one in it, what it has, and how far from upright and regular it is."""

    path: str
    index: int
    characters: frozenset[int] = field(repr=False)
    oddness: float


def _has(font: Font, character: str) -> bool:
    """Tell whether a font has a character: else it draws what it draws for all that it lacks."""
    try:
        return _drawn(font, character) != _drawn(font, _NOWHERE)
    except (OSError, ValueError):
        return False


def _drawn(font: Font, character: str) -> tuple[float, bytes]:
    image = Image.new("L", (64, 64))
    ImageDraw.Draw(image).text((16, 0), character, fill=255, font=font)
    return font.getlength(character), image.tobytes()


def _fonts_with(character: int) -> Iterator[_Installed]:
    """Return what fontconfig knows of fonts that have a character; nothing where there is no fontconfig."""
    try:
        said = subprocess.run(  # noqa: S603 - a character's number is all that comes from outside
            ["fc-list", "--format", _FORMAT, f":charset={character:x}"],  # noqa: S607 - wherever the system has it
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return
    for line in said.decode("utf-8", "replace").splitlines():
        path, index, weight, slant, characters = [*line.split("\t"), "", "", "", ""][:5]
        try:
            # A variable font has a range of weights; the file of one is as good as any.
            odd = abs(float(weight or _REGULAR) - _REGULAR) + float(slant or 0)
        except ValueError:
            odd = 0.0
        try:
            yield _Installed(path, int(index) & 0xFFFF, frozenset(_ranges(characters)), odd)
        except ValueError:
            continue


def _ranges(characters: str) -> Iterator[int]:
    """Return the numbers in a charset of fontconfig's, such as ``20-7e a0``."""
    for each in characters.split():
        first, _, last = each.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1)
