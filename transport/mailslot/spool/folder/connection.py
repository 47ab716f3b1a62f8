"""A connection to the database, and its transactions."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

T = TypeVar("T")

BUSY_TIMEOUT: Final = 10.0
"""Seconds to wait for the transaction of another process."""


def connect(path: Path) -> sqlite3.Connection:
    """Connect to an existing database; its committed transactions survive a power cut."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    # One damaged character must not make all jobs unreadable.
    connection.text_factory = _decode_text
    connection.execute("PRAGMA synchronous=FULL")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str) -> Generator[None]:
    """Commit what the block does, or nothing if it raises; `begin` is the statement that begins the transaction."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some errors it is rolled back already.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def run(connection: sqlite3.Connection, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
    """Return what `work` returns, run in a transaction; see `transaction`."""
    with transaction(connection, begin):
        return work(connection)


def _decode_text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")
