"""The database of the spool: one connection, one transaction at a time, each in a worker thread.

What several threads write at the same time is committed together, since each commit waits for the disk.

SQLite in WAL mode with ``synchronous=FULL``: committed transactions survive a power cut, and other processes may read
and write meanwhile. A transaction that need not survive it is committed with ``synchronous=NORMAL``: it survives the
end of the process, and gets to the disk with the next one that is synced, since both are in the same log.

A process that has the database open holds a shared lock on ``open.lock``; one that creates it, or recreates a damaged
one, holds it exclusively. A damaged database is never changed or deleted, only renamed; the new one is filled from the
message files, which contain everything needed, and never reuses an id.

If the database or its log is removed or replaced while it is open, all further use fails until it is reopened.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from mailslot.spool.errors import DatabaseLostError, busy_error, unreadable_error, writing
from mailslot.spool.folder import schema
from mailslot.spool.folder.connection import BUSY_TIMEOUT, connect, run, transaction
from mailslot.spool.folder.errors import (
    accessing_database,
    damaged_error,
    folder_lost_error,
    is_damage,
    is_full,
    log_lost_error,
)
from mailslot.spool.folder.group_commit import GroupCommit, Write, write_together
from mailslot.spool.folder.highest_ids import HighestIds
from mailslot.spool.storage import AdoptionResult
from mailslot.vault import durable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

T = TypeVar("T")

NAME: Final = "spool.db"
_LOCK: Final = "open.lock"
_PAUSE: Final = 0.01
_WRITERS: Final = 8
"""Threads that may wait for the same commit, besides those that accept messages."""


class Database:
    """The database; every method may raise `mailslot.spool.errors.SpoolError`.

    Args:
        folder: the spool's folder, created if missing.
        adopt_files: called in the first transaction of a new database, to insert rows for existing files.

    Attributes:
        adopted: what was recovered when this process created the database.
        loss_error: why the open database cannot be used any more; None while it can.
        readers: limits the threads that read.
        writers: limits the threads that write.
    """

    def __init__(self, folder: Path, adopt_files: Callable[[sqlite3.Connection], AdoptionResult]) -> None:
        self.path: Final = folder.absolute() / NAME
        self.adopted = AdoptionResult()
        self.loss_error: DatabaseLostError | None = None
        self._highest_ids = HighestIds(self.path.parent)
        self._adopt_files = adopt_files
        # When an asyncio task is cancelled its thread keeps running, so a limiter alone would admit a second one.
        self._mutex = threading.Lock()
        self.readers: Final = anyio.CapacityLimiter(1)
        self.writers: Final = anyio.CapacityLimiter(_WRITERS)
        self._write_grouped = GroupCommit(partial(write_together, self._sync_folder, self._write))
        self._syncs = True
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._folder_identity: tuple[int, int] | None = None
        self._identity: tuple[int, int] | None = None
        self._log_identity: tuple[int, int] | None = None
        self._index_identity: tuple[int, int] | None = None

    def read_blocking(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a read transaction, which sees one consistent state. Blocks."""
        return self._transaction("BEGIN", work)

    def write_blocking(
        self,
        work: Callable[[sqlite3.Connection], T],
        name_file: Callable[[], None] | None = None,
        *,
        durable: bool = True,
    ) -> T:
        """Run `work` in a write transaction: when this returns it is on the disk; if it raises, nothing has changed.

        It may share its transaction with others that wait at the same time. `work` runs a second time if one of those
        raises, and after a checkpoint of the log if the disk was full. Blocks.

        Args:
            work: what is done in the transaction.
            name_file: called before, gives a file its name in the spool's folder, which is then synced.
            durable: False if it may be lost where the power fails before the next transaction.
        """
        result: T = self._write_grouped(Write(work, name_file, durable))
        return result

    def _write(self, work: Callable[[sqlite3.Connection], T], durable: bool) -> T:  # noqa: FBT001 - for `write_together`
        return self._transaction("BEGIN IMMEDIATE", work, durable=durable)

    def open(self) -> None:
        """Open the database; create it if it is missing, and recreate it if it is damaged. Blocks."""
        with writing(self.path.parent):
            durable.make_private_folder(self.path.parent)
        with self._holding_open_lock():
            try:
                connection = self._connect()
            except _UnsoundError:
                self._create_if_unsound()
                connection = self._connect_to_new()
            self._folder_identity = _identity(self.path.parent)
            self._identity = _identity(self.path)
            self._log_identity = _identity(self._sibling("-wal"))
            self._index_identity = _identity(self._sibling("-shm"))
            self._connection = connection
            self._syncs = True
            self.loss_error = None

    def close(self) -> None:
        """Close the database, after a running transaction has finished. Blocks."""
        with self._mutex:
            if self._connection is not None:
                # SQLite writes its log into the database now, so that must still be the same log.
                with suppress(DatabaseLostError):
                    self._require_connection()
            connection, self._connection = self._connection, None
            if connection is not None:
                # Committed transactions are safe in the log, even if the checkpoint at closing fails.
                with suppress(sqlite3.Error):
                    connection.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def version(self) -> tuple[int, int]:
        """Return a value that changes whenever this or another process commits. Blocks."""
        with self._mutex, self._recording_loss(), accessing_database(self.path):
            connection = self._require_connection()
            return connection.execute("PRAGMA data_version").fetchone()[0], connection.total_changes

    def check(self) -> None:
        """Check that the file is still a sound database, not relying on this connection's cache. Blocks.

        Raises:
            DatabaseLostError: it is not.
        """
        with self._mutex, self._recording_loss(), accessing_database(self.path):
            self._require_connection()
            # Never open the file directly: closing it would release SQLite's locks (fcntl(2)).
            with closing(connect(self.path)) as connection:
                connection.execute("SELECT count(*) FROM memory").fetchone()

    def _sync_folder(self) -> None:
        with writing(self.path.parent):
            durable.sync_folder(self.path.parent)

    def _transaction(self, begin: str, work: Callable[[sqlite3.Connection], T], *, durable: bool = True) -> T:
        with self._mutex, self._recording_loss(), accessing_database(self.path):
            connection = self._require_connection()
            if begin != "BEGIN" and durable != self._syncs:
                # If this fails, so does the transaction.
                connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._syncs = durable
            try:
                result = run(connection, begin, work)
            except sqlite3.Error as error:
                if not is_full(error):
                    raise
                # A checkpoint may free space in the log if the database file already has room for its pages.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                result = run(connection, begin, work)
            if begin != "BEGIN":
                self._highest_ids.save(connection)
            return result

    @contextmanager
    def _recording_loss(self) -> Generator[None]:
        try:
            yield
        except DatabaseLostError as error:
            self.loss_error = error
            raise
        except UnicodeDecodeError as error:
            # SQLite's error message quotes the damaged text.
            self.loss_error = damaged_error(self.path, "it holds no text where it should")
            raise self.loss_error from error

    def _require_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("the spool is not open")
        # Whatever is written into an unlinked file is lost when this process ends.
        if _identity(self.path) != self._identity:
            self._require_folder()
            self._set_log_aside()
            raise damaged_error(self.path, "the file was removed or replaced while it was open")
        log = _identity(self._sibling("-wal"))
        if self._log_identity is not None and log != self._log_identity:
            self._require_folder()
            self._save_log(self._connection, replaced=log is not None)
            raise log_lost_error(self._sibling("-wal"))
        if self._index_identity is not None and _identity(self._sibling("-shm")) != self._index_identity:
            self._require_folder()
            # Another process has an index of its own by now, and each would overwrite what the other writes.
            raise log_lost_error(self._sibling("-shm"))
        return self._connection

    def _require_folder(self) -> None:
        """Raise if a file is gone because the folder is, which may be renamed between the checks of two files."""
        if _identity(self.path.parent) != self._folder_identity:
            raise folder_lost_error(self.path.parent)

    def _save_log(self, connection: sqlite3.Connection, *, replaced: bool) -> None:
        """Write what is in a log that has lost its name into the database.

        Where that fails, or another log has that name, which SQLite would mix up with it, the database is set aside.
        """
        if not replaced:
            with suppress(sqlite3.Error):
                if connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()[0] == 0:
                    return
        with suppress(OSError):
            self._set_aside()

    def _set_log_aside(self) -> None:
        """Rename the log of a database that is gone, since it would damage another database of that name."""
        if self._log_identity is None or _identity(self._sibling("-wal")) != self._log_identity:
            return
        with suppress(OSError):
            self._rename_aside("-wal", "-shm")

    def _sibling(self, suffix: str) -> Path:
        return self.path.with_name(f"{NAME}{suffix}")

    @contextmanager
    def _holding_open_lock(self) -> Generator[None]:
        """Take the shared lock, and keep it after the block unless the block raises."""
        path = self.path.with_name(_LOCK)
        with writing(path):
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._lock_shared()
            yield
        except BaseException:
            os.close(self._lock)
            self._lock = None
            raise

    def _lock_shared(self) -> None:
        end = time.monotonic() + BUSY_TIMEOUT
        while not self._try_lock(fcntl.LOCK_SH):
            if time.monotonic() > end:
                raise busy_error(f"{self.path.parent} is being put in order by another process of mailslot.")
            time.sleep(_PAUSE)

    def _try_lock(self, kind: int) -> bool:
        """Convert the lock; if that fails, no lock is held (flock(2))."""
        assert self._lock is not None  # noqa: S101 - opened before
        with writing(self.path.with_name(_LOCK)):
            try:
                fcntl.flock(self._lock, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def _connect(self) -> sqlite3.Connection:
        """Connect to an existing database after checking and migrating it."""
        if not self.path.exists():
            raise _UnsoundError("there is none")
        with accessing_database(self.path), _converting_damage():
            connection = connect(self.path)
            try:
                self._check(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _connect_to_new(self) -> sqlite3.Connection:
        """Connect to a database that was sound just now."""
        try:
            return self._connect()
        except _UnsoundError as error:
            raise damaged_error(self.path, str(error)) from error

    def _check(self, connection: sqlite3.Connection) -> None:
        version, newest = schema.version_of(connection), max(schema.MIGRATIONS)
        if version > newest:
            raise unreadable_error(
                f"{self.path} was written by a newer version of mailslot: update mailslot. Nothing is lost.",
                f"its version is {version}, this mailslot's {newest}",
            )
        if 0 < version < min(schema.MIGRATIONS):
            raise unreadable_error(
                f"{self.path} was written by a checkout from before the first release. Rename it: jobs and mails are "
                "then recovered from their files.",
                f"its version is {version}, this mailslot's {newest}",
            )
        # A new database gets its name only when it is complete, so one without a version was emptied later.
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")] if version else ["emptied"]
        if found != ["ok"]:
            raise _UnsoundError("; ".join(found))
        if (row := connection.execute(schema.UNSOUND_ROWS).fetchone()) is not None:
            raise _UnsoundError(f"{row[0]} {row[1]} is damaged")
        if version < newest:
            with transaction(connection, "BEGIN IMMEDIATE"):
                # Another process may have done it in the meantime.
                schema.migrate(connection, schema.version_of(connection))
        if self._highest_ids.exceed(connection):
            # It is an older copy that was restored.
            with transaction(connection, "BEGIN IMMEDIATE"):
                self._highest_ids.apply(connection)

    def _create_if_unsound(self) -> None:
        """Create the database under the exclusive lock, unless another process was faster; rename a damaged one."""
        end = time.monotonic() + BUSY_TIMEOUT
        while not self._try_lock(fcntl.LOCK_EX):
            time.sleep(_PAUSE)
            self._lock_shared()
            # The process that created it keeps it open, so we would never get the exclusive lock.
            with suppress(_UnsoundError):
                self._connect().close()
                return
            if time.monotonic() > end:
                raise damaged_error(self.path, "another process has it open")
        try:
            self._connect().close()
        except _UnsoundError:
            with writing(self.path):
                lost = self._set_aside()
                self._create(lost=lost or self._highest_ids.exists())
        self._lock_shared()

    def _set_aside(self) -> bool:
        """Rename the files of a damaged database; tell whether there were any."""
        # The database first: its log would damage a new database of that name.
        found = self._rename_aside("", "-wal", "-shm")
        durable.sync_folder(self.path.parent)
        return found

    def _rename_aside(self, *suffixes: str) -> bool:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        existing = [suffix for suffix in suffixes if self._sibling(suffix).exists()]
        for suffix in existing:
            self._sibling(suffix).rename(self._sibling(f".damaged-{stamp}{suffix}"))
        return bool(existing)

    def _create(self, *, lost: bool) -> None:
        new_path = self.path.with_name(f"{NAME}.new")
        for suffix in ("", "-wal", "-shm"):
            new_path.with_name(f"{new_path.name}{suffix}").unlink(missing_ok=True)
        os.close(os.open(new_path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with accessing_database(new_path), closing(connect(new_path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            with transaction(connection, "BEGIN IMMEDIATE"):
                schema.migrate(connection, 0)
                self._highest_ids.apply(connection)
                self.adopted = self._adopt_files(connection)
                if lost or any(self.adopted):
                    values = (time.time(), *self.adopted)
                    connection.execute("INSERT INTO losses (at, found, damaged) VALUES (?, ?, ?)", values)
            # At closing, an error would be ignored.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._highest_ids.save(connection)
        # After closing, the log is gone and the database is a single file.
        new_path.rename(self.path)
        durable.sync_folder(self.path.parent)


class _UnsoundError(Exception):
    """The database is missing or damaged."""


@contextmanager
def _converting_damage() -> Generator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if is_damage(error):
            raise _UnsoundError(str(error)) from error
        raise
    except UnicodeDecodeError as error:
        # SQLite's error message quotes the damaged text.
        raise _UnsoundError("it holds no text where it should") from error


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
