"""The highest numbers that jobs and mails have had, beside the database: one made anew gives none of them again."""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Mapping
    from pathlib import Path

NAME: Final = "numbers"

_TABLES: Final = ("jobs", "mails")
_LINE: Final = re.compile(rb"([a-z]+) +([0-9]+)\n")


class Numbers:
    """The file of the highest numbers. Everything here blocks.

    It is not flushed to the disk each time: it is needed only where the database is lost, and then it lacks a number
    only if the power failed in the same moment.

    Args:
        folder: the spool's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._noted: dict[str, int] = {}

    def were_given(self) -> bool:
        """Tell whether there has been a database before."""
        return self._path.exists()

    def note(self, connection: sqlite3.Connection) -> None:
        """Write down the numbers that the database has given, once they are committed and before anybody is told.

        Where that cannot be done, the next time does it: a number that is in the database is no less safe.
        """
        given = _given(connection)
        if any(number > self._noted.get(table, 0) for table, number in given.items()):
            with suppress(OSError), _locked(self._path) as file:
                found = self._read()
                noted = {table: max(given.get(table, 0), found.get(table, 0)) for table in _TABLES}
                # All lines keep their length, so that writing them anew needs no room on a full disk.
                os.pwrite(file, b"".join(b"%-5s %018d\n" % (table.encode(), noted[table]) for table in _TABLES), 0)
                self._noted = noted

    def apply(self, connection: sqlite3.Connection) -> None:
        """Have the database go on after the highest numbers, where it is a new one or an older copy."""
        given = _given(connection)
        for table, number in self._read().items():
            if number > given.get(table, 0):
                connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
                connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, number))

    def are_behind(self, connection: sqlite3.Connection) -> bool:
        """Tell whether the database would give numbers again that were given before."""
        given = _given(connection)
        return any(number > given.get(table, 0) for table, number in self._read().items())

    def _read(self) -> Mapping[str, int]:
        try:
            octets = self._path.read_bytes()[:1000]
        except OSError:
            return {}
        # A number beyond what a row can have is none of ours.
        found = {name.decode(): int(number) for name, number in _LINE.findall(octets) if len(number) <= 18}
        return {table: number for table, number in found.items() if table in _TABLES}


@contextmanager
def _locked(path: Path) -> Generator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _given(connection: sqlite3.Connection) -> Mapping[str, int]:
    found = connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
    return {str(name): int(number) for name, number in found}
