"""The storage of a spool in a folder: rows in SQLite, each message in a file."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from anyio.to_thread import run_sync

from mailslot.oauth.location import locate
from mailslot.spool.folder import recovery
from mailslot.spool.folder.adoption import DAMAGED, adopt_all
from mailslot.spool.folder.copied_spool import save_location
from mailslot.spool.folder.database import Database
from mailslot.spool.folder.files import (
    NewFile,
    check_free_space,
    mark_released,
    remove_file,
    stream_file,
)
from mailslot.spool.folder.jobs import SqliteJobs, placeholders
from mailslot.spool.folder.mails import SqliteMails
from mailslot.spool.folder.values import SqliteValues
from mailslot.spool.folder.watch import file_versions, watch_changes
from mailslot.spool.locks import exclusive_lock
from mailslot.spool.repositories import DatabaseLoss, Totals
from mailslot.vault.lock import process_lock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncGenerator, Callable, Collection
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mailslot.oauth.location import Location
    from mailslot.spool.errors import SpoolError
    from mailslot.spool.recovery import Recovery
    from mailslot.spool.storage import AdoptionResult, MessageFile

T = TypeVar("T")


class SqliteRepositories:
    """The repositories of a spool in SQLite, in a transaction; see `mailslot.spool.repositories.Repositories`.

    Args:
        connection: the database.
        folder: the spool's folder.

    Attributes:
        connection: the database.
        removed: the files to remove once the transaction is committed.
    """

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self.connection: Final = connection
        self.jobs: Final = SqliteJobs(connection)
        self.mails: Final = SqliteMails(connection, folder)
        self.values: Final = SqliteValues(connection)
        self.removed: Final[list[str]] = []
        self._folder = folder

    def totals(self, pipeline: str = "", keys: Collection[str] = ()) -> Totals:
        """Return how much there is of what has a limit, and whether a pipeline has used one of these keys."""
        query = (
            "SELECT unfinished, octets, EXISTS (SELECT 1 FROM keys "  # noqa: S608 - question marks
            f"WHERE pipeline = ? AND key IN ({placeholders(keys)})) FROM totals"
        )
        unfinished, octets, has_key = self.connection.execute(query, [pipeline, *keys]).fetchone()
        return Totals(unfinished, octets, bool(has_key))

    def files(self) -> set[str]:
        """Return the names of the files of all jobs and mails."""
        query = "SELECT file FROM jobs WHERE file IS NOT NULL UNION SELECT file FROM mails WHERE file IS NOT NULL"
        return {row["file"] for row in self.connection.execute(query)}

    def refers_to(self, file: str) -> bool:
        """Tell whether a job or mail has a file of this name."""
        query = "SELECT 1 FROM jobs WHERE file = ? UNION ALL SELECT 1 FROM mails WHERE file = ?"
        return self.connection.execute(query, (file, file)).fetchone() is not None

    def has_file(self, file: str) -> bool:
        """Tell whether a file is there and was not found damaged."""
        return not file.endswith(DAMAGED) and (self._folder / file).exists()

    def losses(self) -> list[DatabaseLoss]:
        """Return all losses of the database, oldest first."""
        found = self.connection.execute("SELECT at, found, damaged FROM losses ORDER BY at")
        return [DatabaseLoss(*row) for row in found]

    def remove_file(self, file: str) -> None:
        """Remove a file that no job and no mail refers to any more, once the transaction is committed."""
        # Mark it before the commit: after a crash it must not be taken for a file of another database.
        mark_released(self._folder / file)
        self.removed.append(file)


class FolderStorage:
    """A spool in a folder; see `mailslot.spool.storage.Storage`.

    Args:
        folder: the folder, created if missing.
        clock: returns the time in seconds since 1970.

    Attributes:
        database: the database.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._folder = folder
        self.database: Final = Database(
            folder, lambda connection: adopt_all(folder, clock, SqliteRepositories(connection, folder))
        )

    @property
    def adopted(self) -> AdoptionResult:
        """What was recovered when this process created the database."""
        return self.database.adopted

    @property
    def loss_error(self) -> SpoolError | None:
        """Why the database must be opened again; None if it need not be."""
        return self.database.loss_error

    def open(self) -> None:
        """Open the database; create or recreate it if it is missing or damaged. Blocks."""
        self.database.open()

    def close(self) -> None:
        """Close the database, after a running transaction has finished. Blocks."""
        self.database.close()

    def check(self) -> None:
        """Check that the database is still there and sound. Blocks."""
        self.database.check()

    async def read(self, work: Callable[[SqliteRepositories], T]) -> T:
        """Run `work` in a read transaction."""
        return await run_sync(self.read_blocking, work, limiter=self.database.readers)

    async def write(self, work: Callable[[SqliteRepositories], T], *, durable: bool = True) -> T:
        """Run `work` in a write transaction."""
        write = partial(self.write_blocking, work, durable=durable)
        return await run_sync(write, limiter=self.database.writers)

    def read_blocking(self, work: Callable[[SqliteRepositories], T]) -> T:
        """Do what `read` does, in the calling thread."""
        return self.database.read_blocking(lambda connection: work(SqliteRepositories(connection, self._folder)))

    def write_blocking(self, work: Callable[[SqliteRepositories], T], *, durable: bool = True) -> T:
        """Do what `write` does, in the calling thread."""
        return self._write(work, None, durable=durable)

    def _write(
        self,
        work: Callable[[SqliteRepositories], T],
        name_file: Callable[[], None] | None,
        *,
        durable: bool = True,
    ) -> T:
        removed: list[str] = []

        def run(connection: sqlite3.Connection) -> T:
            nonlocal removed
            repositories = SqliteRepositories(connection, self._folder)
            removed = repositories.removed
            return work(repositories)

        result = self.database.write_blocking(run, name_file, durable=durable)
        for name in removed:
            remove_file(self._folder / name)
        return result

    def new_file(self, suffix: str) -> NewFile:
        """Begin a file."""
        return NewFile(self.database, suffix)

    def commit_file(self, file: MessageFile, data: bytes, register: Callable[[SqliteRepositories], T]) -> T:
        """Complete and sync a file, then run `register` in a write transaction. Blocks."""
        if not isinstance(file, NewFile):
            raise TypeError("it is not a file of this storage")
        return file.commit(data, partial(self._write, register))

    async def stream(self, find: Callable[[SqliteRepositories], tuple[str, int]], size: int) -> AsyncGenerator[bytes]:
        """Yield octets of a file."""

        def locate() -> tuple[Path, int]:
            file, start = self.read_blocking(find)
            return self._folder / file, start

        async with aclosing(stream_file(locate, size)) as pieces:
            async for piece in pieces:
                yield piece

    @asynccontextmanager
    async def local_file(self, file: str) -> AsyncGenerator[Path]:
        """Yield the path of a file."""
        yield self._folder / file

    def check_free_space(self, size: int, reserve: int) -> None:
        """Check that the disk has room for `size` octets, with `reserve` octets left over. Blocks."""
        check_free_space(self._folder, size, reserve)

    def lock(self, name: str, sentence: str, *, timeout: float) -> AbstractAsyncContextManager[None]:
        """Hold a lock file."""
        return exclusive_lock(process_lock(self._lock_file(name), timeout=timeout), sentence)

    def recover(self, clock: Callable[[], float]) -> Recovery:
        """Put rows and files in order; see `mailslot.spool.folder.recovery`. Blocks."""
        return recovery.recover(self, self._folder, clock, self.locate())

    def move_here(self) -> None:
        """Remember that the spool is here and no copy. Blocks."""
        here = self.locate()
        self.write_blocking(lambda repositories: save_location(repositories.values, here))

    def locate(self) -> Location:
        """Return the location of the spool; needs the delivery lock. Blocks."""
        return locate(self._lock_file("delivery"))

    async def changes(self) -> AsyncGenerator[None]:
        """Yield at once, and then after each commit by any process."""
        async with aclosing(watch_changes(self.database)) as each:
            async for _ in each:
                yield

    def file_versions(self) -> object:
        """Return a value that changes when the files of the database are removed, replaced or changed."""
        return file_versions(self.database.path)

    def _lock_file(self, name: str) -> Path:
        return self._folder / f"{name}.lock"
