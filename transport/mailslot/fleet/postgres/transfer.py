"""Reading and writing all rows of a device, for moving it from a folder and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mailslot.fleet.postgres.rows import DeviceRows, clean, notes_text
from mailslot.spool.row_mapping import COLUMNS, FLAGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def dump_rows(rows: DeviceRows) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of the spool, by table."""
    return {
        table: [dict(row) for row in rows.all(f"SELECT {', '.join(columns)} FROM {table} WHERE device = %(device)s")]
        for table, columns in COLUMNS.items()
    }


def restore_rows(rows: DeviceRows, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Insert rows for an empty device."""
    for table, found in tables.items():
        columns = COLUMNS[table]
        places = ", ".join(f"%({column})s" for column in columns)
        query = f"INSERT INTO {table} (tenant, device, {', '.join(columns)}) VALUES (%(tenant)s, %(device)s, {places})"
        rows.execute_many(query, [{name: _value(name, value) for name, value in row.items()} for row in found])


def highest_ids(rows: DeviceRows) -> dict[str, int]:
    """Return the highest id that each table with ids has ever had."""
    found = rows.one("SELECT last_job, last_mail FROM device_state WHERE device = %(device)s")
    return {} if found is None else {"jobs": found["last_job"], "mails": found["last_mail"]}


def continue_after(rows: DeviceRows, ids: Mapping[str, int]) -> None:
    """Prevent ids up to these from being used again."""
    rows.execute(
        "UPDATE device_state SET last_job = %(jobs)s, last_mail = %(mails)s WHERE device = %(device)s",
        jobs=ids["jobs"],
        mails=ids["mails"],
    )


def documents(rows: DeviceRows) -> dict[str, bytes]:
    """Return all documents, by name."""
    query = "SELECT name, octets FROM documents WHERE device = %(device)s ORDER BY name"
    return dict(rows.tuples(query))


def _value(column: str, value: object) -> object:
    if column in FLAGS:
        return bool(value)
    if column == "notes":
        return notes_text(json.loads(str(value)))
    return clean(value) if isinstance(value, str) else value
