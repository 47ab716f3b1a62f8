"""The tables of ``mailslot.toml`` beside the records: the device's own, and those that plugins bring."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from mailslot.slots import keys
from mailslot.slots.keys import Key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint

PIPELINES: Final = "mailslot.pipelines"
"""The entry points whose objects may have a `Section` as their ``section``, None for none."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Section:
    """A table of ``mailslot.toml`` beside ``[records.NAME]``, such as ``[device]``.

    Attributes:
        name: the table's name. A plugin's table bears the name of its entry point, so that it is known without
            loading any other plugin.
        keys: what can be set in it; `Key.protocols` means nothing here.
    """

    name: str
    keys: Mapping[str, Key]

    def filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values with the default of every key that is not set."""
        return {name: values.get(name, key.default) for name, key in self.keys.items()}


LANGUAGES: Final = ("en", "de", "fr", "es", "ja")
"""The languages that the device can speak."""

DEVICE: Final = Section(
    "device",
    {
        "name": Key("a text on one line, such as Copier on the second floor", keys.text),
        "model": Key("a text on one line", keys.text),
        "serial_number": Key("a text on one line", keys.text),
        "location": Key("a text on one line", keys.text),
        "language": Key(f"one of {', '.join(LANGUAGES)}", keys.one_of(*LANGUAGES), default="en"),
        "administrator": Key("an e-mail address", keys.address),
        "webhook": Key("an https address, or http on a loopback address", keys.url, private=True),
    },
)
"""What the device says of itself."""

BUILT_IN: Final[Mapping[str, Section]] = {DEVICE.name: DEVICE}
"""The sections that belong to no plugin."""


def find_section(name: str) -> Section | None:
    """Return the section with this name; None where nobody brings it."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    own = [entry for entry in entry_points(group=PIPELINES) if entry.name == name]
    found = [section for entry in own if (section := _section(entry)) is not None and section.name == name]
    return found[0] if found else _all_sections().get(name)


def section_names() -> tuple[str, ...]:
    """Return the names of all sections; this loads every plugin."""
    return (*BUILT_IN, *_all_sections())


def is_broken(name: str) -> bool:
    """Whether a plugin of this name is there and cannot be loaded, so that nobody knows what its table may hold."""
    own = [entry for entry in entry_points(group=PIPELINES) if entry.name == name]
    return any(_load(entry) is None for entry in own)


@cache
def _all_sections() -> Mapping[str, Section]:
    found = (_section(entry) for entry in entry_points(group=PIPELINES))
    return {section.name: section for section in found if section is not None}


def _section(entry: EntryPoint) -> Section | None:
    section = getattr(_load(entry), "section", None)
    return section if isinstance(section, Section) else None


@cache
def _load(entry: EntryPoint) -> object | None:
    """Return what the entry point names; None where that fails."""
    try:
        loaded: object = entry.load()
    except Exception as error:  # noqa: BLE001 - a plugin is somebody else's, and may fail in any way
        logger.info("The plugin %s cannot be loaded: %s", entry.name, error)
        return None
    return loaded
