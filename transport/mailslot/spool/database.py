"""The database of the spool: one connection, one transaction at a time, each in a worker thread.

SQLite in WAL mode with ``synchronous=FULL``: what a transaction committed survives a power cut, and other processes
read and write meanwhile. Whoever has the database open holds ``open.lock`` shared; whoever makes it, or makes it anew
because it is damaged, holds that lock alone. A damaged database is never changed and never deleted: it is set aside,
and the new one is filled from the message files, which carry all that is needed, and gives no number again.

A database that is removed or replaced while it is open takes nothing more: whoever has it open must open it anew.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import anyio.to_thread

from mailslot.spool.errors import DatabaseLostError, busy, damaged, is_damage, is_full, unreadable, using, writing
from mailslot.spool.numbers import Numbers
from mailslot.spool.schema import MIGRATIONS, UNSOUND_ROWS
from mailslot.vault import durable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

T = TypeVar("T")

NAME: Final = "spool.db"
_LOCK: Final = "open.lock"
_BUSY_TIMEOUT: Final = 10.0
"""Seconds that one process waits for another one's transaction."""
_PAUSE: Final = 0.01


class Adopted(NamedTuple):
    """What a new database was filled with.

    Attributes:
        found: how many jobs and mails were found again by their files.
        damaged: how many jobs cannot be sent any more, because their files are damaged.
    """

    found: int = 0
    damaged: int = 0


class Database:
    """An open database.

    Every use may raise `mailslot.spool.errors.SpoolError`.

    Args:
        folder: the spool's folder, made where it is missing.
        fill: called with a new database, in its first transaction; makes rows of the files, and returns how many.

    Attributes:
        adopted: what was found again when this process had to make the database.
        lost: why the open database cannot be used any more; None as long as it can.
    """

    def __init__(self, folder: Path, fill: Callable[[sqlite3.Connection], Adopted]) -> None:
        self.path: Final = folder.absolute() / NAME
        self.adopted = Adopted()
        self.lost: DatabaseLostError | None = None
        self._numbers = Numbers(self.path.parent)
        self._fill = fill
        # Cancelling asyncio's way leaves a thread running: the limiter alone would let a second one in.
        self._mutex = threading.Lock()
        self._limiter = anyio.CapacityLimiter(1)
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._identity: tuple[int, int] | None = None
        self._log_identity: tuple[int, int] | None = None

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on one state of the database."""
        return await anyio.to_thread.run_sync(self.examine, work, limiter=self._limiter)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` as one transaction: once this returns, all it did is on the disk; if it raises, nothing is.

        It is run a second time where the disk was full the first time and has room now.
        """
        return await anyio.to_thread.run_sync(self.transact, work, limiter=self._limiter)

    def examine(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do what `read` does, in a thread that may wait."""
        return self._transaction("BEGIN", work)

    def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do what `write` does, in a thread that may wait."""
        return self._transaction("BEGIN IMMEDIATE", work)

    def open(self) -> None:
        """Open the database; make it where it is missing, and make it anew where it is damaged. Blocks."""
        with writing(self.path.parent):
            durable.make_private_folder(self.path.parent)
        with self._locked():
            try:
                connection = self._connect()
            except _UnsoundError:
                self._make()
                connection = self._connect()
            self._identity = _identity(self.path)
            self._log_identity = _identity(self._beside("-wal"))
            self._connection = connection
            self.lost = None

    def close(self) -> None:
        """Close it; a thread that is still at work finishes first. Blocks."""
        with self._mutex:
            connection, self._connection = self._connection, None
            if connection is not None:
                # What is committed is safe in the log, whether or not closing can tidy up.
                with suppress(sqlite3.Error):
                    connection.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def version(self) -> tuple[int, int]:
        """Return what differs once anybody, here or in another process, has committed. Blocks."""
        with self._mutex, self._noticing_loss(), using(self.path):
            connection = self._opened()
            return connection.execute("PRAGMA data_version").fetchone()[0], connection.total_changes

    def check(self) -> None:
        """See that the file still holds a database, whatever this connection remembers of it. Blocks.

        Raises:
            DatabaseLostError: it does not.
        """
        with self._mutex, self._noticing_loss(), using(self.path):
            self._opened()
            # Never by opening the file itself: closing it would end SQLite's own locks (fcntl(2)).
            with closing(_connect(self.path)) as connection:
                connection.execute("SELECT count(*) FROM memory").fetchone()

    def _transaction(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._mutex, self._noticing_loss(), using(self.path):
            connection = self._opened()
            try:
                result = _run(connection, begin, work)
            except sqlite3.Error as error:
                if not is_full(error):
                    raise
                # What the log holds may have its room in the database already: then there is room in the log again.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                result = _run(connection, begin, work)
            if begin != "BEGIN":
                self._numbers.note(connection)
            return result

    @contextmanager
    def _noticing_loss(self) -> Generator[None]:
        try:
            yield
        except DatabaseLostError as error:
            self.lost = error
            raise
        except UnicodeDecodeError as error:
            # It is SQLite's message, which quotes what it has found there.
            self.lost = damaged(self.path, "it holds no text where it should")
            raise self.lost from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("the spool is not open")
        # What is written into a file without a name is gone with this process.
        if _identity(self.path) != self._identity:
            self._set_log_aside()
            raise damaged(self.path, "the file was removed or replaced while it was open")
        return self._connection

    def _set_log_aside(self) -> None:
        """Rename the log of a database that is gone: beside another one it would spoil that."""
        if self._log_identity is None or _identity(self._beside("-wal")) != self._log_identity:
            return
        with suppress(OSError):
            self._rename_aside("-wal", "-shm")

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(f"{NAME}{suffix}")

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Take the shared lock, and keep it unless the block raises."""
        path = self.path.with_name(_LOCK)
        with writing(path):
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._share()
            yield
        except BaseException:
            os.close(self._lock)
            self._lock = None
            raise

    def _share(self) -> None:
        end = time.monotonic() + _BUSY_TIMEOUT
        while not self._take(fcntl.LOCK_SH):
            if time.monotonic() > end:
                raise busy(f"{self.path.parent} is being put in order by another process of mailslot.")
            time.sleep(_PAUSE)

    def _take(self, kind: int) -> bool:
        """Take the lock in place of what was taken of it; where that fails, nothing is (flock(2))."""
        assert self._lock is not None  # noqa: S101 - opened before
        try:
            fcntl.flock(self._lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _connect(self) -> sqlite3.Connection:
        """Connect to a database that is there, sound and of this version."""
        if not self.path.exists():
            raise _UnsoundError("there is none")
        with using(self.path), _damage():
            connection = _connect(self.path)
            try:
                self._check(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        version = _version(connection)
        if version > len(MIGRATIONS):
            raise unreadable(
                f"{self.path} was written by a newer version of mailslot: update mailslot. Nothing is lost.",
                f"its version is {version}, this mailslot's {len(MIGRATIONS)}",
            )
        # It is made under another name, so one without a version was emptied later.
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")] if version else ["emptied"]
        if found != ["ok"]:
            raise _UnsoundError("; ".join(found))
        if (row := connection.execute(UNSOUND_ROWS).fetchone()) is not None:
            raise _UnsoundError(f"{row[0]} {row[1]} is damaged")
        if version < len(MIGRATIONS):
            with _transaction(connection, "BEGIN IMMEDIATE"):
                # Another process may have done it in the meantime.
                _upgrade(connection, _version(connection))
        if self._numbers.are_behind(connection):
            # It is an older copy.
            with _transaction(connection, "BEGIN IMMEDIATE"):
                self._numbers.apply(connection)

    def _make(self) -> None:
        """Make the database, alone, unless another process was quicker; a damaged one is set aside first."""
        end = time.monotonic() + _BUSY_TIMEOUT
        while not self._take(fcntl.LOCK_EX):
            time.sleep(_PAUSE)
            self._share()
            # Who has made it keeps it open, so that it will not be ours alone.
            with suppress(_UnsoundError):
                self._connect().close()
                return
            if time.monotonic() > end:
                raise damaged(self.path, "another process has it open")
        try:
            self._connect().close()
        except _UnsoundError:
            with writing(self.path):
                lost = self._set_aside()
                self._create(lost=lost or self._numbers.were_given())
        self._share()

    def _set_aside(self) -> bool:
        """Rename what there is, and tell whether there was anything."""
        # The database goes first: beside a new one, the old one's log would spoil it.
        found = self._rename_aside("", "-wal", "-shm")
        durable.flush(self.path.parent)
        return found

    def _rename_aside(self, *suffixes: str) -> bool:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        there = [suffix for suffix in suffixes if self._beside(suffix).exists()]
        for suffix in there:
            self._beside(suffix).rename(self._beside(f".damaged-{stamp}{suffix}"))
        return bool(there)

    def _create(self, *, lost: bool) -> None:
        fresh = self.path.with_name(f"{NAME}.new")
        for suffix in ("", "-wal", "-shm"):
            fresh.with_name(f"{fresh.name}{suffix}").unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with using(fresh), closing(_connect(fresh)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            with _transaction(connection, "BEGIN IMMEDIATE"):
                _upgrade(connection, 0)
                self._numbers.apply(connection)
                self.adopted = self._fill(connection)
                if lost or any(self.adopted):
                    values = (time.time(), *self.adopted)
                    connection.execute("INSERT INTO losses (at, found, damaged) VALUES (?, ?, ?)", values)
            self._numbers.note(connection)
        # Closed, it is one file again.
        fresh.rename(self.path)
        durable.flush(self.path.parent)


class _UnsoundError(Exception):
    """There is no database, or a damaged one."""


@contextmanager
def _damage() -> Generator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if is_damage(error):
            raise _UnsoundError(str(error)) from error
        raise
    except UnicodeDecodeError as error:
        # It is SQLite's message, which quotes what it has found there.
        raise _UnsoundError("it holds no text where it should") from error


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Generator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Some errors have rolled it back already.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _run(connection: sqlite3.Connection, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
    with _transaction(connection, begin):
        return work(connection)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    # A damaged letter must not keep all jobs from being read.
    connection.text_factory = _text
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one of its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    if version < len(MIGRATIONS):
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
