"""The words of the panel: all there in every language, filled alike, and used."""

from __future__ import annotations

import re
import string
import tomllib
from pathlib import Path

import pytest

import mailslot_plugins.panel
from mailslot.slots.section import find_section, section_names
from mailslot_plugins.alerts.kinds import KINDS
from mailslot_plugins.panel.render import environment
from mailslot_plugins.panel.words import LANGUAGES, chosen_language, words

ROOT = Path(mailslot_plugins.panel.__file__).parent
SECTIONS = {name: section for name in section_names() if (section := find_section(name)) is not None}
FOLDERS = sorted(path.parent.name for path in ROOT.glob("*/words.toml"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_word_is_there_in_every_language_and_filled_alike(folder: str) -> None:
    for key, texts in tomllib.loads((ROOT / folder / "words.toml").read_text()).items():
        assert set(texts) == set(LANGUAGES), key
        needs = {language: fields(text) for language, text in texts.items()}
        assert len({frozenset(each) for each in needs.values()}) == 1, (key, needs)
        assert all(text and text == text.strip() for text in texts.values()), key


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_word_is_used(folder: str) -> None:
    """A key stands in a template or a module of its folder, whole or by its beginning; shared ones, anywhere."""
    where = [ROOT] if folder in {"layout", "alerts", "jobs", "home"} else [ROOT / folder]
    sources = [p for place in where for kind in ("*.html", "*.py") for p in place.rglob(kind)]
    said = " ".join(path.read_text() for path in sources)
    quoted = set(re.findall(r"[\"'{}]([a-z_][a-zA-Z_-]*)[\"'{]", said))
    unused = [
        key
        for key in tomllib.loads((ROOT / folder / "words.toml").read_text())
        if key not in quoted
        and not any(each.endswith("_") and key.startswith(each) for each in quoted)
        and not any(each.startswith("_") and key.endswith(each) for each in quoted if len(each) > 1)
        and (folder != "sections" or key.partition("_")[0] not in SECTIONS)
    ]
    assert unused == []


def test_every_setting_has_a_name_in_every_language() -> None:
    named = {key for key in words("sections") if key.partition("_")[0] in SECTIONS}
    keys = {
        f"{name}_{key}"
        for name, section in SECTIONS.items()
        for key in section.keys
        if not (name == "alerts" and key.startswith("recipients_"))
    }
    assert named == keys


def test_every_kind_of_trouble_has_a_name_in_every_language() -> None:
    assert {key.removeprefix("kind_") for key in words("alerts") if key.startswith("kind_")} == set(KINDS)


def test_every_template_can_be_read() -> None:
    made = environment()
    names = made.list_templates(extensions=["html"])
    assert len(names) > 10
    for name in names:
        made.get_template(name)


def test_no_template_brings_script_or_style_of_its_own() -> None:
    for path in ROOT.rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?! src=\"/static/)|javascript:|hx-on", text), path
        assert not re.search(r"(src|href)=\"(https?:)?//", text), path


@pytest.mark.parametrize(
    ("asked", "cookie", "spoken"),
    [
        ("", "", "fr"),
        ("de-AT,de;q=0.9,en;q=0.8", "", "de"),
        ("nl, ja;q=0.3, es;q=0.7", "", "es"),
        ("en;q=0, de;q=0", "", "fr"),
        ("x;q=;q=1, de;q=nan, *", "", "fr"),
        ("de", "ja", "ja"),
        ("de", "xx", "de"),
        ("de;q=inf,en", "", "de"),
    ],
)
def test_the_browser_chooses_the_language(asked: str, cookie: str, spoken: str) -> None:
    from starlette.requests import HTTPConnection  # noqa: PLC0415

    headers = [(b"accept-language", asked.encode()), (b"cookie", f"language={cookie}".encode())]
    assert chosen_language(HTTPConnection({"type": "http", "headers": headers}), "fr") == spoken
