"""Tables beside the records: the device's own, and those of plugins, of which any may be broken."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from mailslot import registry
from mailslot.slots.keys import Key, flag, list_of, number, text
from mailslot.slots.section import DEVICE, Section, find_section, section_names
from mailslot.slots.settings_document import SettingsFileError
from mailslot.slots.settings_file import SettingsFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLUGIN = """
from mailslot.slots.keys import Key, text
from mailslot.slots.section import Section

class Pipeline:
    section = Section("telex", {"answerback": Key("a text", text, default="mailslot")})

class Bare:
    section = None

pipeline, bare = Pipeline(), Bare()
"""
ENTRIES = """
[mailslot.pipelines]
telex = telex_plugin:pipeline
bare = telex_plugin:bare
broken = telex_broken:pipeline
missing = telex_missing:pipeline
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Plugins that are installed as any other is, three of which bring no section."""
    site = tmp_path / "site"
    info = site / "telex-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: telex\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (site / "telex_plugin.py").write_text(PLUGIN)
    (site / "telex_broken.py").write_text("raise SystemError('broken on purpose')")
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("telex_plugin", None)


def test_device() -> None:
    assert find_section("device") is DEVICE
    assert set(DEVICE.keys) >= {"name", "model", "serial_number", "location", "language", "administrator", "webhook"}
    assert find_section("nowhere") is None


@pytest.mark.usefixtures("plugins")
def test_sections_of_plugins(tmp_path: Path) -> None:
    section = find_section("telex")
    assert section is not None
    assert "telex" in section_names()
    assert not {"bare", "broken", "missing"} & set(section_names())
    file = SettingsFile(tmp_path)
    assert file.change_section(section, {"answerback": "42"}) == {"answerback": "42"}
    file.path.write_text("[telex]\nanswerbag = 1\n")
    with pytest.raises(SettingsFileError, match=r":2: \[telex\] there is no setting 'answerbag'\. Did you mean"):
        file.load()


@pytest.mark.usefixtures("plugins")
def test_a_broken_plugin_breaks_nothing(tmp_path: Path) -> None:
    """Nobody knows what its table may hold, so nothing in it is wrong."""
    file = SettingsFile(tmp_path)
    file.path.write_text("[broken]\nx = 1\n[missing]\ny = 2\n[records.smtp]\nport = 25\n")
    assert file.load()["smtp"].port == 25
    file.change("smtp", {"port": 26})
    assert file.path.read_text() == "[broken]\nx = 1\n[missing]\ny = 2\n[records.smtp]\nport = 26\n"
    file.path.write_text("[bare]\nx = 1\n")
    with pytest.raises(SettingsFileError, match=r"no table \[bare\]"):
        file.load()


def test_plugins_are_loaded_for_their_own_table_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load_entry_point", pytest.fail)
    file = SettingsFile(tmp_path)
    file.path.write_text("[records.smtp]\nport = 25\n[device]\nname = 'x'\n")
    assert file.section(DEVICE)["name"] == "x"


def test_explicit_sections(tmp_path: Path) -> None:
    key = Key("addresses", list_of(text), default=())
    section = Section(
        "own", {"to": key, "loud": Key("yes or no", flag), "many": Key("1 to 9", number(1, 9), default=3)}
    )
    for file in (SettingsFile(tmp_path, [section]), SettingsFile(tmp_path)):
        assert file.change_section(section, {"to": "a, b; c a", "loud": "yes"})["to"] == ("a", "b", "c")
        assert file.section(section) == {"to": ("a", "b", "c"), "loud": True, "many": 3}
        file.path.unlink()


@pytest.mark.parametrize("value", ["", " , ", [], [1], None.__class__, {"a": 1}])
def test_invalid_lists(value: object) -> None:
    with pytest.raises(ValueError):
        list_of(text)(value)
