"""The settings of a slot that the person at the device can change to remove a cause."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final

from mailslot.causes.cause import causes

if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN: Final = "…"
"""Stands for a value that only a person knows."""

_NOW_AND_PUBLISHED: Final[Mapping[str, tuple[str, str]]] = {
    "server": ("host", "published_server"),
    "port": ("port", "published_port"),
    "security": ("security_now", "published_security"),
    "ca_file": ("host", "published_server"),
}
"""For each of these settings, the fact with its current value, and the fact with the provider's published value."""


def settings_to_change(cause: str, facts: Mapping[str, str]) -> tuple[str, ...]:
    """Return the settings of the slot that may be wrong, ``KEY=VALUE`` each, as ``mailslot set`` takes them.

    Args:
        cause: an id of the catalogue.
        facts: the diagnosis's facts.

    Returns:
        the settings, without those that are as the provider publishes them. A value that only a person knows is
        `UNKNOWN`.
    """
    row = causes()[cause]
    if any(facts.get(name) for name in row.unless):
        return ()
    found = (_filled(setting, facts) for setting in row.settings if not _is_right(setting, facts))
    return tuple(filter(None, found))


def _filled(setting: str, facts: Mapping[str, str]) -> str:
    """Return a setting with its fact filled in; empty if its key is not known either."""
    key, _, value = setting.partition("=")
    names = [name for _, name, _, _ in string.Formatter().parse(value) if name]
    if key.startswith("{"):
        key = facts.get(key.strip("{}"), "")
    if not key:
        return ""
    if all(facts.get(name) for name in names):
        return f"{key}={value.format_map(facts)}"
    return f"{key}={UNKNOWN}"


def _is_right(setting: str, facts: Mapping[str, str]) -> bool:
    """Whether a setting is as the provider publishes it, or nothing is known about the slot."""
    now, published = _NOW_AND_PUBLISHED.get(setting.partition("=")[0], ("", ""))
    return bool(now) and (not facts.get(now) or facts[now].casefold() == facts.get(published))
