"""All rows of a spool in a folder, for moving it to another database and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailslot.spool.row_mapping import COLUMNS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

_NUMBERED: Final = ("jobs", "mails")


def dump_rows(connection: sqlite3.Connection) -> dict[str, list[dict[str, Any]]]:
    """Return all rows, by table."""
    found: dict[str, list[dict[str, Any]]] = {}
    for table, columns in COLUMNS.items():
        query = f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 - our own words
        found[table] = [dict(row) for row in connection.execute(query)]
    return found


def restore_rows(connection: sqlite3.Connection, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Insert rows into an empty database, in a transaction."""
    connection.execute("PRAGMA defer_foreign_keys=ON")
    for table, rows in tables.items():
        columns = COLUMNS[table]
        places = ", ".join(f":{column}" for column in columns)
        query = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - our own words
        connection.executemany(query, rows)


def highest_ids(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the highest id that each numbered table has ever had."""
    found = {row["name"]: row["seq"] for row in connection.execute("SELECT name, seq FROM sqlite_sequence")}
    return {table: int(found.get(table, 0)) for table in _NUMBERED}


def continue_after(connection: sqlite3.Connection, ids: Mapping[str, int]) -> None:
    """Let no id up to these be given again."""
    for table, number in ids.items():
        connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, number))
