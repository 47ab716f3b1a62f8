"""The database's clock, which all workers use, since machines of a fleet may have different times."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailslot.fleet.postgres.database import FleetDatabase


class DatabaseClock:
    """The wall clock of a fleet; between two readings it follows the machine's monotonic clock.

    Args:
        database: the database.
    """

    def __init__(self, database: FleetDatabase) -> None:
        self._database = database
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Return the time in seconds since 1970."""
        return time.monotonic() + self._offset

    def read(self) -> None:
        """Read the database's clock. Blocks, and may raise `psycopg.Error`."""
        with self._database.connection() as connection:
            began = time.monotonic()
            row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::double precision AS now").fetchone()
            ended = time.monotonic()
        if row is not None:
            self._offset = row["now"] - (began + ended) / 2
