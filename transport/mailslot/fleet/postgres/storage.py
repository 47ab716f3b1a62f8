"""The storage of the spool of a device in PostgreSQL."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
from anyio.to_thread import run_sync

from mailslot.fleet.postgres.database import CommitInDoubtError, DeviceGoneError
from mailslot.fleet.postgres.errors import as_spool_error
from mailslot.fleet.postgres.leases import LeaseLostError
from mailslot.fleet.postgres.messages import CollectedMessage
from mailslot.fleet.postgres.repositories import PostgresRepositories
from mailslot.spool.errors import DatabaseLostError, SpoolError, unreadable_error, writing
from mailslot.spool.locks import exclusive_lock
from mailslot.spool.recovery import Recovery
from mailslot.spool.storage import AdoptionResult
from mailslot.spool.transaction import SpoolTransaction, run_transaction

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mailslot.fleet.postgres.database import DeviceId, FleetDatabase
    from mailslot.fleet.postgres.leases import HeldLeases
    from mailslot.fleet.postgres.local_messages import LocalMessages
    from mailslot.spool.storage import MessageFile

T = TypeVar("T")

_PAUSE: Final = 1.0
"""Seconds between two looks for changes by other processes."""


def lease_of(lock: str) -> str:
    """Return the name of the lease for a lock of the spool."""
    return f"spool/{lock}"


class PostgresStorage:
    """The spool of a device; see `mailslot.spool.storage.Storage`.

    Args:
        database: the database.
        device: the device.
        leases: the leases of this process on the device.
        messages: the folder on this machine for messages that are being received or handled.
        is_shared: whether other devices use the folder, too; then it is removed by the worker.
    """

    def __init__(
        self,
        database: FleetDatabase,
        device: DeviceId,
        leases: HeldLeases,
        messages: LocalMessages,
        *,
        is_shared: bool = False,
    ) -> None:
        self._database = database
        self._device = device
        self._leases = leases
        self._messages = messages
        self._is_shared = is_shared
        self._mutex = threading.Lock()
        self._local: Counter[str] = Counter()
        self.adopted: Final = AdoptionResult()
        self.loss_error: SpoolError | None = None

    def open(self) -> None:
        """Check that the device exists, unless the storage is shared. Blocks."""
        self.loss_error = None
        if not self._is_shared:
            self.check()

    def close(self) -> None:
        """Remove the folder; the connections belong to the process. Blocks."""
        if not self._is_shared:
            self._messages.remove()

    def check(self) -> None:
        """Check that the database responds and has the device. Blocks."""
        self._version()

    async def read(self, work: Callable[[PostgresRepositories], T]) -> T:
        """Run `work` in a read transaction."""
        return await run_sync(self.read_blocking, work)

    async def write(self, work: Callable[[PostgresRepositories], T], *, durable: bool = True) -> T:
        """Run `work` in a write transaction; each is durable here."""
        del durable
        return await run_sync(self.write_blocking, work)

    def read_blocking(self, work: Callable[[PostgresRepositories], T]) -> T:
        """Do what `read` does, in the calling thread."""

        def run() -> T:
            with self._database.device_transaction(self._device, "read") as connection:
                return work(PostgresRepositories(connection, self._device, self._messages.path))

        with self._converting():
            return self._database.retrying(run)

    def write_blocking(self, work: Callable[[PostgresRepositories], T], *, durable: bool = True) -> T:
        """Do what `write` does, in the calling thread; each transaction is durable here."""
        del durable

        def run() -> T:
            with self._database.device_transaction(self._device) as connection:
                self._leases.check(connection)
                return work(PostgresRepositories(connection, self._device, self._messages.path))

        with self._converting():
            return self._database.retrying(run)

    def new_file(self, suffix: str) -> CollectedMessage:
        """Create a message."""
        return CollectedMessage(self._messages, suffix)

    def commit_file(self, file: MessageFile, data: bytes, register: Callable[[PostgresRepositories], T]) -> T:
        """Write a message, and call `register`, in one transaction. Blocks."""
        if not isinstance(file, CollectedMessage):
            raise TypeError("it is not a file of this storage")

        def work(repositories: PostgresRepositories) -> T:
            result = register(repositories)
            # Closed, since an open iterator would block `discard` after a failure.
            with closing(file.pieces()) as pieces:
                repositories.messages.insert(file.name, pieces)
            return result

        try:
            if data:
                file.write(data)
            return self.write_blocking(work)
        finally:
            file.discard()

    async def stream(self, find: Callable[[PostgresRepositories], tuple[str, int]], size: int) -> AsyncGenerator[bytes]:
        """Yield octets of a message."""

        def begin(repositories: PostgresRepositories) -> tuple[str, int, bytes | None]:
            file, start = find(repositories)
            return file, start, repositories.messages.piece(file, 0)

        number = 0
        file, start, piece = await run_sync(self.read_blocking, begin)
        while size:
            if piece is None:
                raise unreadable_error(
                    f"A message of {self._device} is damaged: its end is missing.", f"{size} octets of {file}"
                )
            number += 1
            octets = piece[start : start + size]
            start = max(start - len(piece), 0)
            size -= len(octets)
            if octets:
                yield octets
            if size:
                piece = await run_sync(self._piece, file, number)

    @asynccontextmanager
    async def local_file(self, file: str) -> AsyncGenerator[Path]:
        """Write a message into the folder of this machine while the block runs."""
        path = self._messages.path / file
        await run_sync(self._provide, file, path)
        try:
            yield path
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(self._withdraw, file, path)

    def _provide(self, file: str, path: Path) -> None:
        with self._mutex:
            # A removed message must not look like an empty one.
            if not self._local[file] and (octets := self._piece(file, 0)) is not None:
                self._messages.provide()
                with writing(path), path.open("wb") as opened:
                    number = 0
                    while octets is not None:
                        opened.write(octets)
                        number += 1
                        octets = self._piece(file, number)
            self._local[file] += 1

    def _withdraw(self, file: str, path: Path) -> None:
        with self._mutex:
            self._local[file] -= 1
            if not self._local[file]:
                del self._local[file]
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _piece(self, file: str, number: int) -> bytes | None:
        return self.read_blocking(lambda repositories: repositories.messages.piece(file, number))

    def check_free_space(self, size: int, reserve: int) -> None:
        """Do nothing: only the database knows its disk, and reports when it is full."""

    def lock(self, name: str, sentence: str, *, timeout: float) -> AbstractAsyncContextManager[None]:
        """Hold a lease."""
        return exclusive_lock(self._leases.lease(lease_of(name), timeout=timeout), sentence)

    def recover(self, clock: Callable[[], float]) -> Recovery:
        """Reclaim jobs from deliveries of processes that have died. Blocks."""
        # Usually there is nothing to do, and reading needs no commit.
        if not self.read_blocking(lambda repositories: repositories.jobs.claimed()):
            return Recovery()

        def work(transaction: SpoolTransaction) -> Recovery:
            return Recovery(requeued=tuple(transaction.reclaim_jobs()))

        return run_transaction(self, clock(), work)

    def move_here(self) -> None:
        """Do nothing: a device in a database is never a copy."""

    async def changes(self) -> AsyncGenerator[None]:
        """Yield immediately, and then after each change by any process."""
        seen: int | None = None
        while True:
            version = await run_sync(self._version)
            if version != seen:
                seen = version
                yield
            else:
                await anyio.sleep(_PAUSE)

    def file_versions(self) -> object:
        """Return None: there are no files."""
        return None

    def _version(self) -> int:
        query = "SELECT changes FROM device_state WHERE device = %(device)s"

        def work(repositories: PostgresRepositories) -> int:
            found = repositories.value(query)
            if found is None:
                raise DeviceGoneError(str(self._device))
            return int(found)

        return self.read_blocking(work)

    @contextmanager
    def _converting(self) -> Generator[None]:
        try:
            with as_spool_error(str(self._device)):
                yield
        except LeaseLostError:
            self.loss_error = DatabaseLostError(
                f"Another process has taken over the work for {self._device}, since this one could not be seen for a "
                "while.",
                cause="spool_busy",
                retryable=True,
                detail="a lease was lost",
            )
            raise self.loss_error from None
        except DeviceGoneError:
            raise unreadable_error(f"There is no device {self._device} in the fleet any more.") from None
        except CommitInDoubtError as error:
            raise SpoolError(
                f"The database of {self._device} has not answered, so nobody knows whether the last change was kept.",
                cause="spool_unwritable",
                retryable=True,
                detail=type(error.__cause__).__name__,
            ) from error
