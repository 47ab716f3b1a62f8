"""The highest ids of jobs and mails, in a file beside the database, so that a recreated database never reuses one."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

FILE_NAME: Final = "numbers"

_TABLES: Final = ("jobs", "mails")
_MOST_OCTETS: Final = 1000
_LINE: Final = re.compile(rb"([a-z]+) +([0-9]+)\n")


class HighestIds:
    """The file of the highest ids. Every method blocks.

    It is not synced: it is needed only if the database is lost, and is outdated only if power fails at the same moment.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._saved: dict[str, int] = {}

    def exists(self) -> bool:
        """Tell whether the file exists, so that there was a database before."""
        return self._path.exists()

    def save(self, connection: sqlite3.Connection) -> None:
        """Save the database's highest ids, after the commit and before the ids are returned to anybody.

        If this fails, the next call does it; the ids are in the database anyway.
        """
        # The transaction is committed, so an error here must not look like one that has changed nothing.
        with suppress(OSError, sqlite3.Error):
            self._save(_ids_in(connection))

    def _save(self, current: Mapping[str, int]) -> None:
        if any(number > self._saved.get(table, 0) for table, number in current.items()):
            with _locked(self._path) as file:
                found = _parse(os.pread(file, _MOST_OCTETS, 0))
                merged = {table: max(current.get(table, 0), found.get(table, 0)) for table in _TABLES}
                # The lines have a fixed length, so that overwriting them needs no space on a full disk.
                os.pwrite(file, b"".join(b"%-5s %018d\n" % (table.encode(), merged[table]) for table in _TABLES), 0)
                self._saved = merged

    def apply(self, connection: sqlite3.Connection) -> None:
        """Make a new or restored database continue after the highest ids."""
        current = _ids_in(connection)
        for table, number in self._read().items():
            if number > current.get(table, 0):
                connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
                connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, number))

    def exceed(self, connection: sqlite3.Connection) -> bool:
        """Tell whether the database would reuse ids, since it has lower ones."""
        current = _ids_in(connection)
        return any(number > current.get(table, 0) for table, number in self._read().items())

    def _read(self) -> Mapping[str, int]:
        try:
            octets = self._path.read_bytes()
        except OSError:
            return {}
        return _parse(octets[:_MOST_OCTETS])


def _parse(octets: bytes) -> Mapping[str, int]:
    # Ignore numbers that are too large for a row id.
    found = {name.decode(): int(number) for name, number in _LINE.findall(octets) if len(number) <= 18}
    return {table: number for table, number in found.items() if table in _TABLES}


@contextmanager
def _locked(path: Path) -> Generator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _ids_in(connection: sqlite3.Connection) -> Mapping[str, int]:
    found = connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
    return {str(name): int(number) for name, number in found}
