"""Characters that the default font lacks: drawn in another font, or reported as missing."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw

from lab.fixtures import need
from mailslot_plugins.intake.fonts import Fonts, missing_font_sentence
from mailslot_plugins.intake.process import run_task
from mailslot_plugins.intake.text_pages import text_pages

if TYPE_CHECKING:
    from pathlib import Path

HAN = "\u6f22\u5b57"


def font_with(path: Path, characters: str) -> Path:
    """A font that has these characters alone, each of them a black square."""
    names = {ord(each): f"u{ord(each):x}" for each in characters}
    pen = TTGlyphPen(None)
    for number, place in enumerate([(0, 0), (0, 900), (900, 900), (900, 0)]):
        (pen.lineTo if number else pen.moveTo)(place)
    pen.closePath()
    square = pen.glyph()
    builder: Any = FontBuilder(1000, isTTF=True)
    order = [".notdef", *names.values()]
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap(names)
    builder.setupGlyf({name: TTGlyphPen(None).glyph() if name == ".notdef" else square for name in order})
    builder.setupHorizontalMetrics(dict.fromkeys(order, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that alone has fonts, for fontconfig."""
    need("fontconfig", shutil.which("fc-list") is not None, "comes with script/setup on Debian")
    folder = tmp_path / "fonts"
    folder.mkdir()
    settings = tmp_path / "fonts.conf"
    settings.write_text(
        f"<fontconfig><dir>{folder}</dir><cachedir>{tmp_path / 'cache'}</cachedir></fontconfig>", encoding="utf-8"
    )
    monkeypatch.setenv("FONTCONFIG_FILE", str(settings))
    return folder


@pytest.mark.lab
def test_a_font_with_the_characters_is_found(installed: Path) -> None:
    font_with(installed / "squares.ttf", HAN + "\u3042")
    fonts = Fonts(f"Name: {HAN}", 40)
    assert fonts.missing == ""
    page = Image.new("L", (600, 80), 255)
    fonts.draw(ImageDraw.Draw(page), (10, 10), f"Name: {HAN}")
    start = round(10 + fonts.width("Name: "))
    square = page.crop((start, 0, start + 80, 80))
    # Two squares side by side, which stand on the line on which the letters stand.
    assert square.histogram()[0] > 0.7 * 72 * 36
    assert fonts.width(HAN) == 80
    box = page.crop((start, 0, 600, 80)).point(lambda grey: 255 - grey).getbbox()
    letters = page.crop((0, 0, start - 12, 80)).point(lambda grey: 255 - grey).getbbox()
    assert box is not None
    assert letters is not None
    assert abs(box[3] - letters[3]) <= 1


@pytest.mark.lab
def test_characters_that_no_font_has_are_reported(installed: Path) -> None:
    assert not list(installed.iterdir())
    notes: list[str] = []
    pages = list(text_pages(f"\u00fcber {HAN}\n" * 90, (1240, 1754), 150, notes))
    assert len(pages) > 1
    assert notes == [
        f"No font on this device has the characters {HAN}: install one that has them, such as Noto Sans CJK."
    ]


def test_plain_text_does_not_run_fontconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert (
        Fonts(
            "Gr\u00fc\u00dfe, 3 \u20ac, \u010de\u0161tina, \u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac", 20
        ).missing
        == ""
    )
    # Where there is no fontconfig, what is missing is said as well.
    assert Fonts(HAN, 20).missing == HAN


def test_the_sentence_names_a_font_for_each_script() -> None:
    assert missing_font_sentence("") == ""
    assert "such as Noto Sans Thai and Noto Sans CJK." in missing_font_sentence("\u0e01\u6f22\ud55c\u3042")
    assert "…: " in missing_font_sentence("".join(map(chr, range(0x4E00, 0x4E40))))


async def test_a_printed_text_reports_missing_fonts(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    # No font has what is not assigned yet.
    path.write_text("A private sign: \uf8f8", encoding="utf-8")
    result = await run_task("count", {"path": str(path), "kind": "text"}, tmp_path)
    assert result["pages"] == 1
    assert isinstance(result["notes"], list)
