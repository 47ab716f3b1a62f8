"""A pipeline's key-value store; each change is on the disk once it returns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from mailslot.spool.database import Database

MAX_VALUE: Final = 1_000_000
"""Characters of a value, written as JSON."""


class Store:
    """The JSON values of one pipeline, by key.

    Every method may raise `mailslot.spool.errors.SpoolError`.

    Args:
        database: the spool's database.
        name: the name of the store, such as ``"alerts"``.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name

    async def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - any JSON
        """Return a value, or `default` if there is none."""

        def work(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(
                "SELECT value FROM memory WHERE store = ? AND key = ?", (self._name, key)
            ).fetchone()
            return None if row is None else row["value"]

        text = await self._database.read(work)
        return default if text is None else json.loads(text)

    async def put(self, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Set a value.

        Raises:
            InputError: it cannot be serialized as JSON, or is too long.
        """
        await self.update({key: value})

    async def update(self, values: Mapping[str, Any], deleted: Iterable[str] = ()) -> None:
        """Set several values, and delete others, all of them or none.

        Args:
            values: by key.
            deleted: keys.

        Raises:
            InputError: as for `put`.
        """
        rows = [(self._name, key, _as_json(key, value)) for key, value in values.items()]
        deleted_rows = [(self._name, key) for key in deleted]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM memory WHERE store = ? AND key = ?", deleted_rows)
            connection.executemany(
                "INSERT INTO memory (store, key, value) VALUES (?, ?, ?) "
                "ON CONFLICT (store, key) DO UPDATE SET value = excluded.value",
                rows,
            )

        await self._database.write(work)

    async def delete(self, key: str) -> None:
        """Delete a value, if there is one."""
        await self.update({}, [key])

    async def items(self) -> dict[str, Any]:
        """Return all values."""

        def work(connection: sqlite3.Connection) -> list[tuple[str, str]]:
            rows = connection.execute("SELECT key, value FROM memory WHERE store = ? ORDER BY key", (self._name,))
            return [(row["key"], row["value"]) for row in rows]

        return {key: json.loads(text) for key, text in await self._database.read(work)}


def _as_json(key: str, value: object) -> str:
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"The value of {key} cannot be kept.", stage="spool", detail=str(error)) from error
    if len(text) > MAX_VALUE:
        raise InputError(f"The value of {key} is too long to be kept.", stage="spool", detail=f"{len(text)}")
    return text
