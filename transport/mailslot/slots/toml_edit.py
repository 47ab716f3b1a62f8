"""Editing of a TOML document that changes nothing but the given values."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, cast

import tomlkit
from tomlkit.exceptions import TOMLKitError

from mailslot.slots.keys import json_value
from mailslot.slots.toml_layout import layout

if TYPE_CHECKING:
    from collections.abc import Mapping

Table = tuple[str, ...]


def edit_toml(text: str, changes: Mapping[Table, Mapping[str, Any] | None]) -> str | None:
    """Return a document with values set and unset, and tables removed.

    tomlkit changes and removes existing keys. New keys are inserted as lines, since tomlkit would put them behind the
    comment above the next table.

    Args:
        text: the document, with LF line ends.
        changes: values, by table and key; None unsets a key, and None in place of a table's values removes the table.

    Returns:
        the new document, which the caller must parse and check; None if it cannot be edited.
    """
    try:
        for table in (table for table, values in changes.items() if values is None):
            text = _without_table(text, table)
        values_of = {table: values for table, values in changes.items() if values is not None}
        return _with_values(text, values_of) if values_of else text
    except (TOMLKitError, ValueError, RecursionError):
        return None


def format_assignment(key: str, value: object) -> str:
    """Return ``KEY = VALUE``."""
    return f"{key} = {tomlkit.item(json_value(value)).as_string()}"


def table_header(table: Table) -> str:
    """Return ``[TABLE]``, with quotation marks around parts that need them."""
    return f"[{'.'.join(tomlkit.key(part).as_string() for part in table)}]"


def _with_values(text: str, changes: Mapping[Table, Mapping[str, Any]]) -> str:
    """Return a document with values set and unset; it is parsed once, since tomlkit takes a while for each line."""
    document, ends = tomlkit.parse(text), layout(text).ends
    new: dict[Table, list[str]] = {}
    for table, values in changes.items():
        existing = _find(document, table)
        for key, value in values.items():
            if value is None:
                if existing is not None:
                    existing.pop(key, None)
            elif existing is not None and (key in existing or table not in ends):
                existing[key] = json_value(value)
            else:
                new.setdefault(table, []).append(format_assignment(key, value))
    changed = tomlkit.dumps(document)
    return _with_lines(changed, new) if new else changed


def _without_table(text: str, table: Table) -> str:
    """Remove a table with the comments inside it; comments above and below it are kept."""
    found = layout(text)
    if table in found.ends:
        lines = text.split("\n")
        first = found.lines[table] - 1
        if first > 0 and not lines[first - 1].strip():
            first -= 1
        return "\n".join([*lines[:first], *lines[found.ends[table] :]])
    document = tomlkit.parse(text)
    above = _find(document, table[:-1])
    if above is not None:
        above.pop(table[-1], None)
    return tomlkit.dumps(document)


def _find(document: object, table: Table) -> MutableMapping[str, Any] | None:
    found = document
    for name in table:
        if not isinstance(found, MutableMapping):
            return None
        found = cast("MutableMapping[str, Any]", found).get(name)
    return cast("MutableMapping[str, Any]", found) if isinstance(found, MutableMapping) else None


def _with_lines(text: str, new: Mapping[Table, list[str]]) -> str:
    """Insert lines after the last line of each table, or with a new header at the end of the document."""
    lines, ends = text.split("\n"), layout(text).ends
    # From the end, so that the line numbers above stay right.
    for table in sorted(new.keys() & ends.keys(), key=ends.__getitem__, reverse=True):
        lines[ends[table] : ends[table]] = new[table]
    text = "\n".join(lines)
    tables = ["\n".join([table_header(table), *added, ""]) for table, added in new.items() if table not in ends]
    if not tables:
        return text
    above = [f"{text.rstrip()}\n"] if text.strip() else []
    return "\n".join([*above, *tables])
