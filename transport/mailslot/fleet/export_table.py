"""The settings of many devices as a table in CSV, which `mailslot.fleet.set_up_table` reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailslot.errors import InputError
from mailslot.fleet.set_up_table import TENANT
from mailslot.slots.csv_rows import as_cell, write_csv_rows
from mailslot.slots.keys import json_value
from mailslot.slots.overview import as_text
from mailslot.slots.section import find_section
from mailslot.slots.settings_document import parse_settings_document
from mailslot.slots.settings_export import select_tables, tables_of
from mailslot.slots.slot import slots_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROW = ("tenant", "device", "slot")
_GROUPS = frozenset({"listeners", "devices"})


def export_table(documents: Iterable[tuple[str, str, bytes | None]]) -> tuple[bytes, list[str]]:
    """Return the table, with a line for each slot that is set up, and sentences about devices that are left out.

    It does not contain secrets, tokens, and listeners and devices of the gateway.

    Args:
        documents: the names of tenant and device, with the device's ``mailslot.toml`` or None.
    """
    rows: list[dict[str, str]] = []
    left_out: list[str] = []
    for tenant, device, octets in documents:
        try:
            rows += _rows(tenant, device, octets or b"")
        except (InputError, UnicodeDecodeError) as error:
            left_out.append(f"{tenant}/{device} is left out: {error}")
    titles = [*_ROW, *dict.fromkeys(title for row in rows for title in row if title not in _ROW)]
    # Settings of the slots come before those of sections.
    titles.sort(key=lambda title: (title not in _ROW, "." in title))
    return write_csv_rows([titles, *([row.get(title, "") for title in titles] for row in rows)]), left_out


def _rows(tenant: str, device: str, octets: bytes) -> list[dict[str, str]]:
    document = parse_settings_document(octets.decode(), f"{tenant}/{device}/mailslot.toml", find_section)
    tables = {table: values for table, values in select_tables(tables_of(document), ()).items() if values}
    row = {"tenant": tenant, "device": device}
    rows: list[dict[str, str]] = []
    for table, values in tables.items():
        if table[0] == "records":
            slot = next((each.id for each in slots_of(table[1])), table[1])
            found = {TENANT if key == "tenant" else key: _cell(value) for key, value in values.items()}
            rows.append({**row, "slot": slot, **found})
    sections = {
        f"{table[0]}.{key}": _cell(value)
        for table, values in tables.items()
        if table[0] != "records" and table[0] not in _GROUPS
        for key, value in values.items()
    }
    first, *others = rows or [{**row, "slot": ""}]
    return [{**first, **sections}, *others]


def _cell(value: Any) -> str:  # noqa: ANN401 - whatever a key holds
    return as_cell(as_text(json_value(value)))
