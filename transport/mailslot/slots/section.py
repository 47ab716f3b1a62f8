"""Sections: tables of ``mailslot.toml`` other than records; one is the device's, the others belong to plugins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.registry import PluginError, PluginGroup
from mailslot.slots import keys
from mailslot.slots.keys import Key

if TYPE_CHECKING:
    from collections.abc import Mapping

PIPELINES: Final = "mailslot.pipelines"
"""The group of entry points of pipelines. Their ``section`` is a `Section`, or None."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table of ``mailslot.toml`` other than ``[records.NAME]``, such as ``[device]``.

    Attributes:
        name: the table's name. For a plugin it is the name of its entry point, so that no other plugin must be loaded
            to find it.
        keys: its keys; `Key.protocols` has no meaning here.
    """

    name: str
    keys: Mapping[str, Key]

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values, with the defaults of keys that are not set."""
        return {name: values.get(name, key.default) for name, key in self.keys.items()}


LANGUAGES: Final = ("en", "de", "fr", "es", "ja")
"""The languages of the messages that the device writes."""

DEVICE: Final = Section(
    "device",
    {
        "name": Key("a text on one line, such as Copier on the second floor", keys.text),
        "model": Key("a text on one line", keys.text),
        "serial_number": Key("a text on one line", keys.text),
        "location": Key("a text on one line", keys.text),
        "language": Key(f"one of {', '.join(LANGUAGES)}", keys.one_of(*LANGUAGES), default="en"),
        "administrator": Key("an e-mail address", keys.address),
        "webhook": Key(
            "an https address, or http on a loopback address", keys.url, private=True, set_by="administrator"
        ),
    },
)
"""The device's own description."""

BUILT_IN: Final[Mapping[str, Section]] = {DEVICE.name: DEVICE}
"""The sections that do not belong to a plugin."""


_PLUGINS: Final = tuple(
    PluginGroup[object](name, noun=noun, check=lambda found: hasattr(found, "section"))
    for name, noun in ((PIPELINES, "pipeline"), ("mailslot.panels", "panel"))
)


def find_section(name: str) -> Section | None:
    """Return the section with this name; None if there is none.

    The plugin of this name is loaded, and all others if it does not have the section.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    for group in _PLUGINS:
        try:
            own = getattr(group.find(name), "section", None)
        except InputError:
            continue
        if isinstance(own, Section) and own.name == name:
            return own
    return _of_plugins().get(name)


def section_names() -> tuple[str, ...]:
    """Return the names of all sections; this loads all plugins."""
    return (*BUILT_IN, *_of_plugins())


def is_broken_plugin(name: str) -> bool:
    """Whether a plugin of this name is installed but cannot be loaded, so that its keys are unknown."""
    for group in _PLUGINS:
        try:
            group.find(name)
        except PluginError:
            return True
        except InputError:
            continue
    return False


def _of_plugins() -> Mapping[str, Section]:
    found = [each for group in _PLUGINS for each in group.load_all().plugins.values()]
    sections = [getattr(each, "section", None) for each in found]
    return {section.name: section for section in sections if isinstance(section, Section)}
