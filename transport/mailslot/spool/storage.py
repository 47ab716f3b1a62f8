"""Where a spool keeps its jobs, mails and messages: a folder with SQLite, or another database."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mailslot.spool.errors import SpoolError
    from mailslot.spool.recovery import Recovery
    from mailslot.spool.repositories import Repositories

T = TypeVar("T")


class AdoptionResult(NamedTuple):
    """What a new database was filled with.

    Attributes:
        found: how many jobs and mails were recovered from their files.
        damaged: how many jobs cannot be sent because their files are damaged.
    """

    found: int = 0
    damaged: int = 0


class MessageFile(Protocol):
    """A file that is being written. Every method blocks, and may be called from any thread.

    Attributes:
        name: its name, once something was written.
        size: its octets so far.
        closed: whether it was committed or discarded.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - above

    @property
    def size(self) -> int: ...  # noqa: D102

    @property
    def closed(self) -> bool: ...  # noqa: D102

    def write(self, data: bytes) -> None:
        """Append octets.

        Raises:
            SpoolError: they cannot be written.
        """
        ...

    def write_at_start(self, data: bytes) -> None:
        """Overwrite octets at the start of the file, which must have been written.

        Raises:
            SpoolError: they cannot be written.
        """
        ...

    def discard(self) -> None:
        """Remove the file unless it was committed; waits for a commit in another thread."""
        ...


class Storage(Protocol):
    """The storage of one spool. Every method may raise `mailslot.spool.errors.SpoolError`."""

    @property
    def adopted(self) -> AdoptionResult:
        """What was recovered when this process created the database."""
        ...

    @property
    def loss_error(self) -> SpoolError | None:
        """Why the storage must be opened again; None if it need not be."""
        ...

    def open(self) -> None:
        """Open it; create what is missing. Blocks."""
        ...

    def close(self) -> None:
        """Close it, after a running transaction has finished. Blocks."""
        ...

    def check(self) -> None:
        """Check that it is still there and sound; if not, raise, and set `loss_error`. Blocks."""
        ...

    async def read(self, work: Callable[[Repositories], T]) -> T:
        """Run `work`, in another thread, in a transaction that sees one consistent state."""
        ...

    async def write(self, work: Callable[[Repositories], T], *, durable: bool = True) -> T:
        """Run `work`, in another thread, in a transaction; it may run several times.

        When this returns, the changes are durable; if it raises, nothing has changed. For `durable` see
        `write_blocking`.
        """
        ...

    def read_blocking(self, work: Callable[[Repositories], T]) -> T:
        """Do what `read` does, in the calling thread."""
        ...

    def write_blocking(self, work: Callable[[Repositories], T], *, durable: bool = True) -> T:
        """Do what `write` does, in the calling thread.

        Args:
            work: what is done in the transaction.
            durable: False if nothing is lost where the power fails before the next write; the end of this process must
                not undo it either way.
        """
        ...

    def new_file(self, suffix: str) -> MessageFile:
        """Begin a file whose name has this suffix; it ends with `commit_file` or `MessageFile.discard`."""
        ...

    def commit_file(self, file: MessageFile, data: bytes, register: Callable[[Repositories], T]) -> T:
        """Append the last octets to a file of `new_file`, and make it and what `register` writes durable. Blocks.

        If any of this raises, the file is removed, and nothing has changed.
        """
        ...

    def stream(self, find: Callable[[Repositories], tuple[str, int]], size: int) -> AsyncGenerator[bytes]:
        """Yield octets of a committed file.

        Args:
            find: returns the file, and the offset of the first octet; called in another thread, which then reads it.
            size: the number of octets.
        """
        ...

    def local_file(self, file: str) -> AbstractAsyncContextManager[Path]:
        """Provide a committed file in the file system while the block runs, at the path that a mail's `path` tells."""
        ...

    def check_free_space(self, size: int, reserve: int) -> None:
        """Check that there is room for `size` octets, with `reserve` octets left over. Blocks.

        Raises:
            SpoolError: `spool_full`.
        """
        ...

    def lock(self, name: str, sentence: str, *, timeout: float) -> AbstractAsyncContextManager[None]:
        """Hold a lock across tasks and processes while the block runs.

        Args:
            name: the name of the lock.
            sentence: the error message if it is held elsewhere.
            timeout: seconds to wait for it; 0 to try once.

        Raises:
            SpoolError: `spool_busy`, it is held elsewhere.
        """
        ...

    def recover(self, clock: Callable[[], float]) -> Recovery:
        """Recover what a crashed process has left; needs the delivery lock. Blocks."""
        ...

    def move_here(self) -> None:
        """Remember that the spool is here and no copy; needs the delivery lock. Blocks."""
        ...

    def changes(self) -> AsyncGenerator[None]:
        """Yield at once, and then after each commit by any process; several may be reported together."""
        ...

    def file_versions(self) -> object:
        """Return a value that changes when the files of the storage are removed, replaced or changed."""
        ...
