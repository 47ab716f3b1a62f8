"""The base of a device's repositories."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from mailslot.spool.row_mapping import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from psycopg import Cursor
    from psycopg.rows import DictRow

    from mailslot.fleet.postgres.database import DeviceId, Rows

LARGEST: Final = 2**63 - 1
"""The largest id of a row (bigint)."""

NOTE: Final = r"(regexp_replace(notes, '\\u(0000|d[89a-f][0-9a-f]{2})', '\\u003f', 'g')::json ->> %(note)s)"
"""The SQL expression for a job's note; PostgreSQL cannot read JSON with escaped NUL or lone surrogates."""

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def clean(text: str) -> str:
    """Return `text` with lone surrogates and NUL, which PostgreSQL rejects, replaced by ``?``."""
    return replace_surrogates(text).replace("\0", "?")


def notes_text(notes: Mapping[str, str]) -> str:
    """Return the notes of a job as JSON, where only NUL and lone surrogates are escaped; see `NOTE`."""
    text = json.dumps(dict(notes), ensure_ascii=False)
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class DeviceRows:
    """The rows of one device, in a transaction.

    Args:
        connection: the database.
        device: the device; queries refer to it as ``%(tenant)s`` and ``%(device)s``.
    """

    def __init__(self, connection: Rows, device: DeviceId) -> None:
        self._connection = connection
        self._device: Final = {"tenant": device.tenant, "device": device.number}

    def execute(self, query: str, **values: object) -> Cursor[DictRow]:
        """Execute a query; `values` are by name."""
        return self._connection.execute(query.encode(), {**self._device, **values})

    def execute_many(self, query: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Execute a query for each mapping of names to values."""
        values = [{**self._device, **row} for row in rows]
        if len(values) == 1:
            # For a single row, psycopg's pipeline would cost more than it saves.
            self._connection.execute(query.encode(), values[0])
            return
        with self._connection.cursor() as cursor:
            cursor.executemany(query.encode(), values)

    def one(self, query: str, **values: object) -> DictRow | None:
        """Return the first row of a query; None if there is none."""
        return self.execute(query, **values).fetchone()

    def value(self, query: str, **values: object) -> Any:  # noqa: ANN401 - what the column holds
        """Return the first column of the first row; None if there is none."""
        row = self.one(query, **values)
        return None if row is None else next(iter(row.values()))

    def number(self, query: str, **values: object) -> int | None:
        """Return the number in the first column of the first row; None if there is none."""
        value: int | None = self.value(query, **values)
        return value

    def text(self, query: str, **values: object) -> str | None:
        """Return the text in the first column of the first row; None if there is none."""
        value: str | None = self.value(query, **values)
        return value

    def octets(self, query: str, **values: object) -> bytes | None:
        """Return the octets in the first column of the first row; None if there is none."""
        value: bytes | None = self.value(query, **values)
        return value

    def all(self, query: str, **values: object) -> Sequence[DictRow]:
        """Return all rows of a query."""
        return self.execute(query, **values).fetchall()

    def tuples(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        """Return all rows of a query, each as a tuple."""
        return [tuple(row.values()) for row in self.execute(query, **values)]
