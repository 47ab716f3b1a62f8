"""The values of the pipelines' stores in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.fleet.postgres.rows import DeviceRows, clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class PostgresValues(DeviceRows):
    """The values of the pipelines' stores, in a transaction; see `mailslot.spool.repositories.Values`."""

    def get(self, store: str, key: str) -> str | None:
        """Return a value; None if there is none."""
        query = "SELECT value FROM memory WHERE device = %(device)s AND store = %(store)s AND key = %(key)s"
        return self.text(query, store=store, key=clean(key))

    def keys(self, store: str) -> list[str]:
        """Return all keys of a store, in order."""
        query = 'SELECT key FROM memory WHERE device = %(device)s AND store = %(store)s ORDER BY key COLLATE "C"'
        return [key for (key,) in self.tuples(query, store=store)]

    def items(self, store: str) -> list[tuple[str, str]]:
        """Return all keys and values of a store, by key."""
        query = 'SELECT key, value FROM memory WHERE device = %(device)s AND store = %(store)s ORDER BY key COLLATE "C"'
        return [(key, value) for key, value in self.tuples(query, store=store)]

    def update(self, store: str, values: Mapping[str, str], deleted: Iterable[str]) -> None:
        """Delete some values, then set others."""
        if keys := [clean(key) for key in deleted]:
            query = "DELETE FROM memory WHERE device = %(device)s AND store = %(store)s AND key = ANY(%(keys)s)"
            self.execute(query, store=store, keys=keys)
        self.execute_many(
            "INSERT INTO memory (tenant, device, store, key, value) VALUES (%(tenant)s, %(device)s, %(store)s, "
            "%(key)s, %(value)s) ON CONFLICT (device, store, key) DO UPDATE SET value = excluded.value",
            [{"store": store, "key": clean(key), "value": value} for key, value in values.items()],
        )
