"""Plugin usage: the records, sections and stored tokens that use each plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.errors import MailError
from mailslot.service.panel import PANELS
from mailslot.slots.flows import TOKEN_SOURCES, flow_name
from mailslot.slots.section import PIPELINES, find_section
from mailslot.slots.settings import Settings, keys_for, protocol_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from mailslot.slots.keys import Key
    from mailslot.slots.records import Records
    from mailslot.slots.settings_file import SettingsFile

COMMANDS: Final[Mapping[str, str]] = {
    PIPELINES: "serve",
    PANELS.name: "serve --listen",
    "mailslot.fleet_panels": "fleet panel",
    "mailslot.fleet_pages": "fleet sign-in",
}
"""The command that uses all plugins of a group, whatever the settings are."""

Plugin = tuple[str, str]
"""The group and the name of an entry point."""


class PluginUsage:
    """The records and sections that use each plugin.

    Attributes:
        error: why the settings could not be read; empty if they could.
    """

    def __init__(self) -> None:
        self._by: dict[Plugin, list[str]] = {}
        self.error = ""

    def users(self, group: str, name: str) -> list[str]:
        """Return the users of a plugin: records, sections, and the command of `COMMANDS`, in this order."""
        return [*self._by.get((group, name), ()), *([COMMANDS[group]] if group in COMMANDS else ())]

    def add(self, plugin: Plugin, user: str) -> None:
        """Record a user of a plugin."""
        users = self._by.setdefault(plugin, [])
        if user not in users:
            users.append(user)


async def find_plugin_usage(file: SettingsFile, records: Callable[[], Records]) -> PluginUsage:
    """Return which plugins a device's settings use; `PluginUsage.error` says why if they cannot be read.

    Args:
        file: the settings.
        records: opens the records, which contain the tokens; it may fail because packages are missing.
    """
    found = PluginUsage()
    try:
        settings = await run_sync(file.current)
    except MailError as error:
        found.error = str(error)
        return found
    for record, values in settings.records.items():
        if values == Settings():
            continue
        oauth2 = values.authentication == "oauth2"
        keys = keys_for(protocol_of(record, values))
        for plugin in _named(keys, {key: getattr(values, key) for key in keys if oauth2 or key != "token_source"}):
            found.add(plugin, record)
        if oauth2 and values.token_source is None and (flow := await _flow(records, record, values)):
            found.add((TOKEN_SOURCES.name, flow), record)
    for name, table in settings.sections.items():
        section = await run_sync(find_section, name)
        for plugin in _named(section.keys, table) if section is not None else ():
            found.add(plugin, name)
    return found


def _named(keys: Mapping[str, Key], values: Mapping[str, Any]) -> Iterator[Plugin]:
    for key, value in values.items():
        plugins = keys[key].plugins
        if plugins is not None and value is not None:
            yield from plugins(value)


async def _flow(records: Callable[[], Records], record: str, settings: Settings) -> str | None:
    """Return the flow that refreshes the record's token; without a token, the flow that would obtain it."""
    try:
        grant = await records().tokens.store(record).load()
        return flow_name(settings) if grant is None else grant.flow
    except (MailError, ModuleNotFoundError):
        # Packages are missing, or the settings or the token cannot be used; what remains is the flow in the settings.
        return settings.flow
