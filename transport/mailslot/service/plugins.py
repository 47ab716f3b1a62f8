"""The list of installed plugins: their packages, whether they can be used, and what uses them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from mailslot.entry_points import display_name, installed_entry_points, origin_of
from mailslot.errors import InputError
from mailslot.registry import PluginError, PluginGroup
from mailslot.service.panel import PANELS
from mailslot.service.pipeline import PLUGINS
from mailslot.slots.flows import TOKEN_SOURCES
from mailslot.slots.maildrop import MAILDROPS
from mailslot.slots.submitter import SUBMITTERS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from importlib.metadata import EntryPoint

    from mailslot.service.plugin_usage import PluginUsage

# The interfaces of printers, commands, and the panel and pages of fleets are defined elsewhere: in plugins,
# `mailslot.cli` and `mailslot.fleet`.
_PRINTERS: Final = PluginGroup[Any]("mailslot.printers", noun="printer", check=callable)
_COMMANDS: Final = PluginGroup[Any]("mailslot.commands", noun="command", check=callable)
_FLEET_PANELS: Final = PluginGroup[Any]("mailslot.fleet_panels", noun="fleet panel", check=callable)
_FLEET_PAGES: Final = PluginGroup[Any]("mailslot.fleet_pages", noun="set of pages", check=callable)


def plugin_rows(
    usage: PluginUsage, *, commands: PluginGroup[Any] = _COMMANDS, reserved: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return a row for each plugin, as JSON values. This loads all plugins: call it in a thread.

    Args:
        usage: what uses each plugin.
        commands: the group of command plugins.
        reserved: the names of built-in commands, which a plugin cannot replace.
    """
    every = (TOKEN_SOURCES, SUBMITTERS, MAILDROPS, PLUGINS, _PRINTERS, PANELS, _FLEET_PANELS, _FLEET_PAGES, commands)
    groups: Mapping[str, PluginGroup[Any]] = {group.name: group for group in every}
    return [
        _row(entry, groups, reserved if entry.group == commands.name else (), usage)
        for entry in installed_entry_points()
    ]


def _row(
    entry: EntryPoint, groups: Mapping[str, PluginGroup[Any]], reserved: Collection[str], usage: PluginUsage
) -> dict[str, Any]:
    package, group = origin_of(entry), groups.get(entry.group)
    used_by = usage.users(entry.group, entry.name)
    state, fault = "active" if used_by else "available", None
    try:
        if group is None:
            near = get_close_matches(entry.group, groups, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(
                f"Nothing looks for plugins in the group {display_name(entry.group)}.{hint}", stage="resolve"
            )
        if entry.name in reserved:
            raise InputError(f"mailslot has a command {entry.name} of its own.", stage="resolve")
        group.load(entry)
    except InputError as error:
        fault = error
        state = "missing_extra" if isinstance(error, PluginError) and error.extra else "failed"
    return {
        "group": entry.group,
        "kind": entry.group if group is None else group.noun,
        "name": entry.name,
        "distribution": package.name,
        "version": package.version,
        "state": state,
        "extra": (fault.extra or None) if isinstance(fault, PluginError) else None,
        "message": "" if fault is None else str(fault),
        "detail": "" if fault is None else fault.detail,
        "used_by": used_by,
    }
