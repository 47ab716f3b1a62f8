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
        for table, values in changes.items():
            text = _without_table(text, table) if values is None else _with_table(text, table, values)
    except (TOMLKitError, ValueError, RecursionError):
        return None
    return text


def format_assignment(key: str, value: object) -> str:
    """Return ``KEY = VALUE``."""
    return f"{key} = {tomlkit.item(json_value(value)).as_string()}"


def table_header(table: Table) -> str:
    """Return ``[TABLE]``, with quotation marks around parts that need them."""
    return f"[{'.'.join(tomlkit.key(part).as_string() for part in table)}]"


def _with_table(text: str, table: Table, values: Mapping[str, Any]) -> str:
    document = tomlkit.parse(text)
    existing = _find(document, table)
    new: list[str] = []
    for key, value in values.items():
        if value is None:
            if existing is not None:
                existing.pop(key, None)
        elif existing is not None and (key in existing or table not in layout(text).ends):
            existing[key] = json_value(value)
        else:
            new.append(format_assignment(key, value))
    changed = tomlkit.dumps(document)
    return _with_lines(changed, table, new) if new else changed


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


def _with_lines(text: str, table: Table, new: list[str]) -> str:
    """Insert lines after the last line of a table, or with a new header at the end of the document."""
    lines = text.split("\n")
    end = layout(text).ends.get(table)
    if end is not None:
        return "\n".join([*lines[:end], *new, *lines[end:]])
    above = f"{text.rstrip()}\n\n" if text.strip() else ""
    return above + "\n".join([table_header(table), *new, ""])
