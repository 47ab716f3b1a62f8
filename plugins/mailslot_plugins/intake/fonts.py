"""Selects fonts for text on pages: for each character a font that has it.

Fonts are found with fontconfig's program ``fc-list``. Characters that no font has are reported in a sentence, since
boxes in their place would not say what is missing.
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

_PREFERRED_FONTS: Final = ("DejaVuSans.ttf", "NotoSans-Regular.ttf")
"""Fonts with more characters than Pillow's own; the first one that is installed is used."""

_MAX_FONTS: Final = 12
"""The most fonts for one text."""

_FC_LIST_TIMEOUT: Final = 20.0
_LAST_COMMON: Final = 0xFF
"""Every font has the characters up to this one."""

_NO_CHARACTER: Final = "\U0010fffe"
"""A noncharacter, drawn like every character that a font lacks."""

_REGULAR: Final = 80
_FORMAT: Final = r"%{file}\t%{index}\t%{weight}\t%{slant}\t%{charset}\n"
_CJK_SCRIPTS: Final = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH"})
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
"""The first words of characters' names (`unicodedata`), which are also in font names."""


def load_font(size: int) -> Font:
    """Return the default font, in pixels of height."""
    for name in _PREFERRED_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size=size)


class Fonts:
    """The fonts for one text.

    Attributes:
        missing: the characters that no font has, in order of appearance.
    """

    def __init__(self, text: str, size: int) -> None:
        self._size = size
        self._default = load_font(size)
        self._fallbacks: dict[str, Font] = {}
        seen = dict.fromkeys(
            each for each in text if ord(each) > _LAST_COMMON and each.isprintable() and not each.isspace()
        )
        missing = [each for each in seen if not _has_character(self._default, each)]
        self._find_fallbacks(set(missing))
        self.missing = "".join(each for each in missing if each not in self._fallbacks)

    def width(self, text: str) -> float:
        """Return the width of a line in pixels."""
        return sum(font.getlength(run) for font, run in self._runs(text))

    def draw(self, draw: ImageDraw.ImageDraw, position: tuple[float, float], text: str) -> None:
        """Draw a line in black."""
        across, down = position
        for font, run in self._runs(text):
            if isinstance(font, ImageFont.FreeTypeFont) and isinstance(self._default, ImageFont.FreeTypeFont):
                # Fonts have different heights, and a line has one baseline.
                draw.text((across, down + self._default.getmetrics()[0]), run, fill=0, font=font, anchor="ls")
            else:
                draw.text((across, down), run, fill=0, font=font)
            across += font.getlength(run)

    def _runs(self, text: str) -> Iterator[tuple[Font, str]]:
        if not self._fallbacks:
            yield self._default, text
            return
        for font, run in groupby(text, lambda each: self._fallbacks.get(each, self._default)):
            yield font, "".join(run)

    def _find_fallbacks(self, missing: set[str]) -> None:
        """Find fonts for these characters, as few as possible."""
        wanted = {ord(each) for each in missing}
        for _ in range(_MAX_FONTS):
            if not wanted:
                return
            found = sorted(_fonts_with(min(wanted)), key=lambda font: (-len(font.characters & wanted), font.deviation))
            font = self._open_first(found)
            covered = found[0].characters & wanted if font is not None else {min(wanted)}
            wanted -= covered
            if font is not None:
                self._fallbacks.update(dict.fromkeys(map(chr, covered), font))

    def _open_first(self, found: list[_InstalledFont]) -> Font | None:
        """Return the first font that can be opened."""
        for each in found[:3]:
            with suppress(OSError):
                return ImageFont.truetype(each.path, self._size, index=each.index)
        return None


def missing_font_sentence(characters: str) -> str:
    """Return a sentence that says which fonts to install; empty if none is missing."""
    if not characters:
        return ""
    names = list(dict.fromkeys(name for each in characters if (name := _font_for(each))))
    return (
        f"No font on this device has the characters {characters[:20]}{'…' if len(characters) > 20 else ''}: "
        f"install one that has them, such as {' and '.join(names[:4]) or 'the Noto fonts'}."
    )


def _font_for(character: str) -> str:
    script = unicodedata.name(character, "").partition(" ")[0].partition("-")[0]
    if script in _CJK_SCRIPTS:
        return "Noto Sans CJK"
    return f"Noto Sans {script.title()}" if script in _SCRIPTS else ""


@dataclass(frozen=True, slots=True)
class _InstalledFont:
    """An installed font: its file, its index there, its characters, and how much it deviates from upright regular."""

    path: str
    index: int
    characters: frozenset[int] = field(repr=False)
    deviation: float


def _has_character(font: Font, character: str) -> bool:
    """Return whether a font has a character: missing ones are all drawn alike."""
    try:
        return _render(font, character) != _render(font, _NO_CHARACTER)
    except (OSError, ValueError):
        return False


def _render(font: Font, character: str) -> tuple[float, bytes]:
    image = Image.new("L", (64, 64))
    ImageDraw.Draw(image).text((16, 0), character, fill=255, font=font)
    return font.getlength(character), image.tobytes()


def _fonts_with(character: int) -> Iterator[_InstalledFont]:
    """Return the installed fonts that have a character; none without fontconfig."""
    try:
        output = subprocess.run(  # noqa: S603 - a character's number is all that comes from outside
            ["fc-list", "--format", _FORMAT, f":charset={character:x}"],  # noqa: S607 - wherever the system has it
            capture_output=True,
            timeout=_FC_LIST_TIMEOUT,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return
    for line in output.decode("utf-8", "replace").splitlines():
        path, index, weight, slant, characters = [*line.split("\t"), "", "", "", ""][:5]
        try:
            # A variable font has a range of weights, which is not a number; it counts as regular.
            deviation = abs(float(weight or _REGULAR) - _REGULAR) + float(slant or 0)
        except ValueError:
            deviation = 0.0
        try:
            yield _InstalledFont(path, int(index) & 0xFFFF, frozenset(_ranges(characters)), deviation)
        except ValueError:
            continue


def _ranges(characters: str) -> Iterator[int]:
    """Return the code points in a charset of fontconfig, for example ``20-7e a0``."""
    for each in characters.split():
        first, _, last = each.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1)
