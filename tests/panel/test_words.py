"""The panel's texts: present in every language, with the same placeholders, and used."""

from __future__ import annotations

import re
import string
import tomllib
from pathlib import Path

import pytest

import mailslot_plugins.panel
from mailslot.slots.keys import Parser
from mailslot.slots.section import find_section, section_names
from mailslot_plugins.alerts.kinds import KINDS
from mailslot_plugins.panel.pipelines import pipeline_words
from mailslot_plugins.panel.render import environment
from mailslot_plugins.panel.sections.fields import section_text
from mailslot_plugins.panel.translations import LANGUAGES, chosen_language, load_texts

ROOT = Path(mailslot_plugins.panel.__file__).parent
OURS = ("addressbook", "alerts", "fax", "gateway", "print", "rules", "scan", "status")
SECTIONS = {name: section for name in section_names() if (section := find_section(name)) is not None}
FILES = {path.parent.name: path for path in sorted(ROOT.glob("*/words.toml"))} | {
    f"{name} (pipeline)": ROOT.parent / name / "panel" / "words.toml" for name in OURS
}
TEMPLATES = [
    path for folder in (ROOT, *(ROOT.parent / name / "panel" for name in OURS)) for path in folder.rglob("*.html")
]
OF_SECTIONS = ("job", "section", "more", "setting_", "hint_", "choice_", "first_start", "note_")
"""How the words of a pipeline begin that the panel asks for."""


@pytest.mark.parametrize("folder", FILES)
def test_every_text_has_all_languages_and_the_same_placeholders(folder: str) -> None:
    for key, texts in tomllib.loads(FILES[folder].read_text()).items():
        assert set(texts) == set(LANGUAGES), key
        needs = {language: fields(text) for language, text in texts.items()}
        assert len({frozenset(each) for each in needs.values()}) == 1, (key, needs)
        assert all(text and text == text.strip() for text in texts.values()), key


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("folder", FILES)
def test_every_text_is_used(folder: str) -> None:
    """A key stands in a template or a module of its folder, whole or by its beginning; shared ones, anywhere."""
    where = [ROOT] if folder in {"layout", "jobs", "home"} else [FILES[folder].parent]
    sources = [p for place in where for kind in ("*.html", "*.py") for p in place.rglob(kind)]
    result = " ".join(path.read_text() for path in sources)
    quoted = set(re.findall(r"[\"'{}]([a-z_][a-zA-Z_-]*)[\"'{]", result))
    unused = [
        key
        for key in tomllib.loads(FILES[folder].read_text())
        if key not in quoted
        and not any(each.endswith("_") and key.startswith(each) for each in quoted)
        and not any(each.startswith("_") and key.endswith(each) for each in quoted if len(each) > 1)
        and not ((folder == "sections" or folder.endswith("(pipeline)")) and key.startswith(OF_SECTIONS))
    ]
    assert unused == []


def test_every_setting_is_named_in_every_language() -> None:
    named = {(None, key.removeprefix("setting_")) for key in load_texts("sections") if key.startswith("setting_")}
    for name in OURS:
        named |= {(name, key.removeprefix("setting_")) for key in pipeline_words(name) if key.startswith("setting_")}
    keys = {
        ((name, key) if name in OURS else (None, f"{name}_{key}"), each.advanced)
        for name, section in SECTIONS.items()
        for key, each in section.keys.items()
    }
    known = {key for key, _ in keys}
    assert {key for key, advanced in keys if not advanced} <= named <= known
    hinted = {(name, key.removeprefix("hint_")) for name in OURS for key in pipeline_words(name) if key[:5] == "hint_"}
    assert hinted <= known


def test_every_choice_has_exactly_one_name() -> None:
    for name, section in SECTIONS.items():
        parsers = [each.parse for each in section.keys.values() if isinstance(each.parse, Parser)]
        choices = {each for parse in parsers for each in parse.schema.get("enum", ()) if name in OURS}
        result = {key.removeprefix("choice_") for key in pipeline_words(name) if key.startswith("choice_")}
        assert result == choices, name


def test_every_section_has_a_title() -> None:
    assert [name for name in SECTIONS if section_text(name, "section", "ja") is None] == []


def test_every_alert_kind_is_named_in_every_language() -> None:
    assert {key.removeprefix("kind_") for key in load_texts("alerts") if key.startswith("kind_")} == set(KINDS)


def test_every_template_compiles() -> None:
    made = environment()
    assert len(TEMPLATES) > 10
    assert any(path.parent.parent.name == "alerts" for path in TEMPLATES)
    for path in TEMPLATES:
        folder = path.parent.parent.name if path.parent.name == "panel" else path.parent.name
        assert made.get_template(f"{folder}/{path.name}").filename == str(path)


def test_no_template_contains_inline_script_or_style() -> None:
    for path in TEMPLATES:
        text = path.read_text()
        assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?! src=\"/static/)|javascript:|hx-on", text), path
        assert not re.search(r"(src|href)=\"(https?:)?//", text), path


@pytest.mark.parametrize(
    ("header", "cookie", "expected"),
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
def test_accept_language_selects_the_language(header: str, cookie: str, expected: str) -> None:
    from starlette.requests import HTTPConnection  # noqa: PLC0415

    headers = [(b"accept-language", header.encode()), (b"cookie", f"language={cookie}".encode())]
    assert chosen_language(HTTPConnection({"type": "http", "headers": headers}), "fr") == expected
