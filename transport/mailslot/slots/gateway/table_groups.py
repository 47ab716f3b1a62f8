"""Groups of tables in ``mailslot.toml``, ``[GROUP.NAME]``: listeners and devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mailslot.slots.gateway.device_entry import DEVICE_KEYS, check_device_entry
from mailslot.slots.gateway.listeners import LISTENER_KEYS, check_listener

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.slots.keys import Key


@dataclass(frozen=True, slots=True)
class TableGroup:
    """A group of tables; people choose the names of the tables.

    Attributes:
        name: the first part of the tables' names.
        noun: what people call one of them.
        keys: the keys of each table.
        check: raises `InputError` if the values of a table are incomplete or contradict each other.
    """

    name: str
    noun: str
    keys: Mapping[str, Key]
    check: Callable[[Mapping[str, Any]], None]


LISTENERS: Final = TableGroup("listeners", "listener", LISTENER_KEYS, check_listener)
DEVICES: Final = TableGroup("devices", "device", DEVICE_KEYS, check_device_entry)

GROUPS: Final[Mapping[str, TableGroup]] = {group.name: group for group in (LISTENERS, DEVICES)}
"""All groups, by name."""
