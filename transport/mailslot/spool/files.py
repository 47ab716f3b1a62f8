"""Files that are whole or not there: written beside, flushed, renamed, and their folder flushed.

Whoever writes a file holds a lock on it, flock(2), until it is known to the database. So whoever finds a file that
the database does not know can tell a writer at work from one that died, whichever process it is. A file that the
database knows is read-only, from then on until it is given up; so one that is read-only and not known was accepted by
a database that is not this one, such as when an older copy was put back.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

import anyio.to_thread

from mailslot.spool.errors import full, reading, unreadable, writing
from mailslot.spool.limits import megabytes
from mailslot.vault import durable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncGenerator, Callable
    from io import FileIO
    from pathlib import Path

    from mailslot.spool.database import Database

T = TypeVar("T")

PIECE: Final = 262_144
_UNFINISHED: Final = ".new"
_KNOWN: Final = 0o400
_UNKNOWN: Final = 0o600


class NewFile:
    """A file that is being written. Every method blocks, and may be called from any thread.

    Args:
        folder: where it is to stand.
        suffix: how its name ends.
    """

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder = folder
        self._suffix = suffix
        self._mutex = threading.Lock()
        self._descriptor: int | None = None
        self.name = ""
        self.size = 0
        self.ended = False

    def write(self, data: bytes) -> None:
        """Add octets; the first ones make the file.

        Raises:
            SpoolError: the disk does not take them.
        """
        with self._mutex:
            self._write(data)

    def keep(self, data: bytes, commit: Callable[[], T]) -> T:
        """Add the last octets, put the file onto the disk, and let `commit` make it known.

        If any of that raises, the file is gone.

        Raises:
            SpoolError: the disk does not take it.
        """
        with self._mutex:
            try:
                self._write(data)
                with writing(self.path):
                    os.fsync(self._open())
                    self._beside.rename(self.path)
                    durable.flush(self._folder)
                result = commit()
            except BaseException:
                self._end(keep=False)
                raise
            self._end(keep=True)
            return result

    def discard(self) -> None:
        """Remove it, unless it has been kept; a `keep` at work in another thread decides first."""
        with self._mutex:
            self._end(keep=False)

    @property
    def path(self) -> Path:
        """Where it stands once it is kept."""
        return self._folder / self.name

    @property
    def _beside(self) -> Path:
        return self._folder / f"{self.name}{_UNFINISHED}"

    def _write(self, data: bytes) -> None:
        with writing(self._folder):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._open(), rest) :]
        self.size += len(data)

    def _open(self) -> int:
        if self.ended:
            raise RuntimeError("the file is closed")
        while self._descriptor is None:
            self.name = f"{secrets.token_hex(16)}{self._suffix}"
            self._descriptor = _create(self._beside)
        return self._descriptor

    def _end(self, *, keep: bool) -> None:
        self.ended = True
        if self._descriptor is None:
            return
        if not keep:
            for path in (self._beside, self.path):
                remove(path)
        os.close(self._descriptor)
        self._descriptor = None


def enter_file(database: Database, file: NewFile, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run the transaction that makes a new file known, and note at the file that it is."""
    result = database.transact(work)
    mark_known(file.path)
    return result


def mark_known(path: Path) -> None:
    """Note at a file that the database knows it."""
    _set_mode(path, _KNOWN)


def mark_given_up(path: Path) -> None:
    """Note at a file, before that is committed, that the database will not know it any more."""
    _set_mode(path, _UNKNOWN)


def is_marked_known(state: os.stat_result) -> bool:
    """Tell whether a database has known a file, and has not given it up."""
    return not state.st_mode & 0o200


def _set_mode(path: Path, mode: int) -> None:
    with suppress(OSError):  # such as on a file system without modes
        path.chmod(mode)


def remove(path: Path) -> None:
    """Remove a file that the database does not know (any more); if that fails, recovery does it."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def remove_abandoned(
    path: Path, is_known: Callable[[str], bool], adopt: Callable[[Path, os.stat_result], bool]
) -> int | None:
    """Remove a file; return the octets that this freed, or None where somebody is writing it or it is known.

    Args:
        path: the file.
        is_known: whether the database knows a file of this name.
        adopt: called with the file and its state; returns whether the database knows it from now on.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        # The order matters: once the lock is ours, its writer has made it known or never will; and whoever gives a
        # known one up has marked that before.
        if not _take(descriptor) or is_known(path.name):
            return None
        state = os.fstat(descriptor)
        if adopt(path, state):
            return None
        path.unlink()
        return state.st_size
    finally:
        os.close(descriptor)


def check_free(folder: Path, size: int, spare: int) -> None:
    """See that the disk has room for `size` octets and that `spare` stay free.

    Raises:
        SpoolError: it has not.
    """
    with reading(folder):
        disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < size + spare:
        raise full(
            f"The disk has {megabytes(free)} free; this message needs {megabytes(size)}, "
            f"and {megabytes(spare)} must stay free.",
            str(folder),
        )


async def stream(path: Path, start: int, size: int) -> AsyncGenerator[bytes]:
    """Give `size` octets of a file from `start` on.

    Raises:
        SpoolError: it cannot be read, or holds fewer.
    """
    with reading(path):
        file = await anyio.to_thread.run_sync(_open_at, path, start)
    with file:
        while size:
            with reading(path):
                piece = await anyio.to_thread.run_sync(file.read, min(size, PIECE))
            if not piece:
                raise unreadable(f"{path} is damaged: its end is missing.", f"{size} octets are missing")
            size -= len(piece)
            yield piece


def _open_at(path: Path, start: int) -> FileIO:
    file = path.open("rb", buffering=0)
    file.seek(start)
    return file


def _create(path: Path) -> int | None:
    """Make a file and take its lock; None where somebody who tidies up was quicker than the lock."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    if _take(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _take(descriptor: int) -> bool:
    """Take the lock on an open file that still has its name."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0
