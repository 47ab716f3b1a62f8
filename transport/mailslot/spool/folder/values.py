"""The values of the pipelines' stores in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping


class SqliteValues:
    """The values of the pipelines' stores, in a transaction; see `mailslot.spool.repositories.Values`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, store: str, key: str) -> str | None:
        """Return a value; None if there is none."""
        row = self._connection.execute("SELECT value FROM memory WHERE store = ? AND key = ?", (store, key)).fetchone()
        return None if row is None else row["value"]

    def keys(self, store: str) -> list[str]:
        """Return all keys of a store, in order."""
        found = self._connection.execute("SELECT key FROM memory WHERE store = ? ORDER BY key", (store,))
        return [row["key"] for row in found]

    def items(self, store: str) -> list[tuple[str, str]]:
        """Return all keys and values of a store, by key."""
        found = self._connection.execute("SELECT key, value FROM memory WHERE store = ? ORDER BY key", (store,))
        return [(row["key"], row["value"]) for row in found]

    def update(self, store: str, values: Mapping[str, str], deleted: Iterable[str]) -> None:
        """Delete some values, then set others."""
        self._connection.executemany(
            "DELETE FROM memory WHERE store = ? AND key = ?", [(store, key) for key in deleted]
        )
        self._connection.executemany(
            "INSERT INTO memory (store, key, value) VALUES (?, ?, ?) "
            "ON CONFLICT (store, key) DO UPDATE SET value = excluded.value",
            [(store, key, value) for key, value in values.items()],
        )
