"""Descriptions of devices in searchable columns, from their settings and in the same transaction."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from mailslot.fleet.postgres.rows import DeviceRows, clean

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTINGS: Final = "mailslot.toml"
"""The document with the settings."""

_MAX_TEXT: Final = 1000

_WRITE: Final = (
    "INSERT INTO descriptions (tenant, device, name, location, accounts, words, is_set_up) VALUES (%(tenant)s, "
    "%(device)s, %(name)s, %(location)s, %(accounts)s, %(words)s, %(is_set_up)s) ON CONFLICT (device) DO UPDATE SET "
    "name = excluded.name, location = excluded.location, accounts = excluded.accounts, words = excluded.words, "
    "is_set_up = excluded.is_set_up"
)


@dataclass(frozen=True, slots=True)
class Description:
    """The description of a device.

    Attributes:
        name: its name; empty if it has none.
        location: its location; empty if unknown.
        accounts: the mailboxes and sender addresses of its records.
        is_set_up: whether any of its records has a server or a provider.
    """

    name: str = ""
    location: str = ""
    accounts: tuple[str, ...] = ()
    is_set_up: bool = False

    @property
    def words(self) -> str:
        """All of it as one text, to be searched without regard to case."""
        return " ".join(filter(None, (self.name, self.location, *self.accounts))).casefold()


def describe(octets: bytes | None) -> Description:
    """Return the description in a settings file; empty if the file cannot be read."""
    try:
        tables = tomllib.loads((octets or b"").decode())
    except (ValueError, RecursionError):
        return Description()
    device = _table(tables.get("device"))
    records = [_table(each) for each in _table(tables.get("records")).values()]
    accounts = {text for record in records for key in ("account", "sender_address") if (text := _text(record, key))}
    return Description(
        _text(device, "name"),
        _text(device, "location"),
        tuple(sorted(accounts)),
        any(_text(record, key) for record in records for key in ("server", "provider")),
    )


def write_description(rows: DeviceRows, octets: bytes | None) -> None:
    """Write the description of a device, in the transaction that writes its settings.

    Args:
        rows: the rows of the device.
        octets: its settings file; None if it was removed.
    """
    found = describe(octets)
    rows.execute(
        _WRITE,
        name=found.name,
        location=found.location,
        accounts=", ".join(found.accounts)[:_MAX_TEXT],
        words=found.words,
        is_set_up=found.is_set_up,
    )


def _table(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    return clean(value.strip())[:_MAX_TEXT] if isinstance(value, str) else ""
