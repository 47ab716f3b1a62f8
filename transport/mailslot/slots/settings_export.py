"""Export of settings for other devices, as TOML without passwords, secrets and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.slots.gateway.table_groups import GROUPS
from mailslot.slots.keys import Key, list_of, number, quoted_value, suggestion, text
from mailslot.slots.section import Section, find_section, section_names
from mailslot.slots.settings import KEYS, PROTOCOL_KEY, Settings, keys_for, protocol_of, protocol_text
from mailslot.slots.settings_document import SettingsDocument
from mailslot.slots.slot import PROTOCOLS, is_account

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mailslot.slots.settings_document import CurrentSettings

VERSION: Final = 1

HEADER: Final = Section(
    "mailslot",
    {
        "export": Key(f"{VERSION}, the version of the format", number(VERSION, VERSION)),
        "without": Key("a list of keys and tables that stay as they are", list_of(text)),
    },
)
"""The table that identifies an export."""

_ABOUT: Final = (
    "# Settings of a mailslot device, without passwords, secrets and tokens: mailslot import FILE applies them.\n"
    "# A table in this file replaces the device's table; all other tables of the device stay as they are.\n"
)

Table = tuple[str, ...]
Tables = dict[Table, dict[str, Any]]


def export_settings(settings: CurrentSettings, without: Iterable[str] = ()) -> str:
    """Return settings as an export.

    Args:
        settings: the current settings; values from presets are not exported.
        without: names of keys and tables to leave out, such as ``"account"`` and ``"device"``.

    Raises:
        InputError: there is no such key or table.
    """
    from mailslot.slots.toml_edit import format_assignment, table_header  # noqa: PLC0415 - tomlkit takes a while to import

    left_out = tuple(dict.fromkeys(without))
    tables = tables_of(SettingsDocument(settings.records, settings.sections, settings.groups))
    if left_out:
        _check_names(left_out, tables)
    header: dict[str, Any] = {"export": VERSION} | ({"without": left_out} if left_out else {})
    lines = [_ABOUT]
    for table, values in {("mailslot",): header, **select_tables(tables, left_out)}.items():
        if values:
            lines += [table_header(table), *(format_assignment(key, value) for key, value in values.items()), ""]
    return "\n".join(lines)


def tables_of(document: SettingsDocument) -> Tables:
    """Return the values that are set, by table."""
    unset = Settings()
    records: Tables = {
        ("records", record): ({"protocol": protocol_text(protocol)} if is_account(record) else {})
        | {key: getattr(settings, key) for key in keys_for(protocol) if getattr(settings, key) != getattr(unset, key)}
        for record, settings in document.records.items()
        for protocol in (protocol_of(record, settings),)
    }
    sections: Tables = {(name,): dict(values) for name, values in document.sections.items() if name != "mailslot"}
    grouped: Tables = {
        (group, name): dict(values) for group, tables in document.groups.items() for name, values in tables.items()
    }
    return {**records, **sections, **grouped}


def select_tables(tables: Tables, without: Iterable[str]) -> Tables:
    """Return tables without the keys and tables to leave out, and without private values."""
    out = frozenset(without)
    found: Tables = {}
    for table, values in tables.items():
        if out & _names(table):
            continue
        known = keys_of(table)
        private = {key for key in values if key in known and known[key].private}
        # Without some of its keys, a listener or device would be a different one.
        kept_back = private if table[0] in GROUPS else out | private
        found[table] = {key: value for key, value in values.items() if key not in kept_back}
    return found


def keys_of(table: Table) -> Mapping[str, Key]:
    """Return the keys of a table."""
    if table[0] == "records":
        return {"protocol": PROTOCOL_KEY, **KEYS} if is_account(table[1]) else KEYS
    if table[0] in GROUPS:
        return GROUPS[table[0]].keys
    section = find_section(table[0])
    return KEYS if section is None else section.keys


def _names(table: Table) -> set[str]:
    """Return the names by which a table can be left out: its full name, its own name, or its group."""
    return {".".join(table), table[0] if table[0] in GROUPS else table[-1]}


def _check_names(names: Iterable[str], tables: Tables) -> None:
    """Check that there are keys or tables of these names, whether they are set or not."""
    found = {*tables, *(("records", record) for record in PROTOCOLS), *((name,) for name in section_names())}
    known = {name for table in found for name in _names(table)} | GROUPS.keys()
    # Keys of listeners and devices are never left out; see `select_tables`.
    known |= {key for table in found if table[0] not in GROUPS for key in keys_of(table)} - {"protocol"}
    for name in names:
        if name not in known:
            hint = suggestion(name, known)
            raise InputError(f"There is no key and no table {quoted_value(name)} to leave out.{hint}", stage="resolve")
