"""Files that are either complete or absent: written under a temporary name, synced, renamed, and their folder synced.

A writer holds a lock on its file, flock(2), until the file is registered in the database. So an unregistered file
without a lock was left by a writer that died. A registered file is read-only until it is released. So an unregistered
file that is read-only was registered in another database, such as before an older copy was restored.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

import anyio.to_thread

from mailslot.spool.errors import full_error, reading, unreadable_error, writing
from mailslot.spool.limits import format_size

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from io import FileIO
    from pathlib import Path

    from mailslot.spool.folder.database import Database


T = TypeVar("T")

PIECE_SIZE: Final = 262_144
_UNFINISHED: Final = ".new"
_KNOWN: Final = 0o400
_UNKNOWN: Final = 0o600


class NewFile:
    """A file that is being written. Every method blocks, and may be called from any thread.

    Args:
        database: the database that it is registered in, whose folder it is in.
        suffix: what its name ends with.

    Attributes:
        path: its path once it is committed.
    """

    def __init__(self, database: Database, suffix: str) -> None:
        self._database = database
        self._folder = database.path.parent
        self._suffix = suffix
        self._mutex = threading.Lock()
        self._descriptor: int | None = None
        self._temporary_path = self.path = self._folder
        self.name = ""
        self.size = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        """Append octets; the first call creates the file.

        Raises:
            SpoolError: they cannot be written.
        """
        with self._mutex:
            self._write(data)

    def write_at_start(self, data: bytes) -> None:
        """Overwrite octets at the start of the file, which must have been written.

        Raises:
            SpoolError: they cannot be written.
        """
        with self._mutex, writing(self._folder):
            rest, offset = memoryview(data), 0
            while rest:
                written = os.pwrite(self._open(), rest, offset)
                rest, offset = rest[written:], offset + written

    def commit(self, data: bytes, register: Callable[[Callable[[], None]], T]) -> T:
        """Append the last octets, sync the file, and call `register`, which registers it.

        It is passed a function that gives the file its name, which must be on the disk before the file is registered.

        If any of this raises, the file is removed. Files of other threads share the sync of the folder and the
        transaction, but each is synced by itself: the system brings several of them to the disk together.

        Raises:
            SpoolError: it cannot be written.
        """
        with self._mutex:
            try:
                self._write(data)
                with writing(self.path):
                    os.fsync(self._open())
                result = register(self._rename)
            except BaseException:
                self._close(keep=False)
                raise
            mark_registered(self.path)
            self._close(keep=True)
            return result

    def discard(self) -> None:
        """Remove the file unless it was committed; waits for a `commit` in another thread."""
        with self._mutex:
            self._close(keep=False)

    def _rename(self) -> None:
        with writing(self.path):
            self._temporary_path.rename(self.path)

    def _write(self, data: bytes) -> None:
        with writing(self._folder):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._open(), rest) :]
        self.size += len(data)

    def _open(self) -> int:
        if self.closed:
            raise RuntimeError("the file is closed")
        while self._descriptor is None:
            self.name = f"{secrets.token_hex(16)}{self._suffix}"
            self.path = self._folder / self.name
            self._temporary_path = self._folder / f"{self.name}{_UNFINISHED}"
            self._descriptor = _create(self._temporary_path)
        return self._descriptor

    def _close(self, *, keep: bool) -> None:
        self.closed = True
        if self._descriptor is None:
            return
        if not keep:
            for path in (self._temporary_path, self.path):
                remove_file(path)
        os.close(self._descriptor)
        self._descriptor = None


def mark_registered(path: Path) -> None:
    """Mark a file as registered in the database."""
    _set_mode(path, _KNOWN)


def mark_released(path: Path) -> None:
    """Mark a file as released, before the transaction that releases it is committed."""
    _set_mode(path, _UNKNOWN)


def is_marked_registered(status: os.stat_result) -> bool:
    """Tell whether a file is marked as registered, in any database."""
    return not status.st_mode & 0o200


def _set_mode(path: Path, mode: int) -> None:
    with suppress(OSError):  # such as on a file system without modes
        path.chmod(mode)


def list_files(folder: Path, suffixes: tuple[str, ...]) -> list[tuple[Path, os.stat_result]]:
    """Return the files in a folder whose names end with one of the suffixes, and their status.

    Folders, pipes, links that lead nowhere, and names that are not UTF-8 are left out: nothing of ours is like that.

    Raises:
        OSError: the folder cannot be read.
    """
    found = [(path, status_of(path)) for path in folder.iterdir() if path.name.endswith(suffixes) and _is_text(path)]
    return [(path, status) for path, status in found if status is not None and stat.S_ISREG(status.st_mode)]


def status_of(path: Path) -> os.stat_result | None:
    """Return the status of a file; None if there is none.

    Raises:
        OSError: it is there, and its status cannot be read.
    """
    try:
        return path.stat()
    except OSError as error:
        # The last two are of links that lead nowhere.
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            return None
        raise


def _is_text(path: Path) -> bool:
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return False
    return True


def remove_file(path: Path) -> None:
    """Remove a file that is not registered (any more); if that fails, recovery removes it later."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def remove_abandoned(
    path: Path, is_known: Callable[[str], bool], adopt: Callable[[Path, os.stat_result], bool]
) -> int | None:
    """Remove an unregistered file; return the octets freed, or None if it is being written or registered.

    Args:
        path: the file.
        is_known: tells whether a file of this name is registered.
        adopt: called with the file and its status; may register the file, and returns whether it did.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        # The order matters: once we hold the lock, its writer has registered it or never will, and a released file
        # was marked as such before its row was changed. A file that was registered since it was opened has a new name.
        if not _try_lock(descriptor) or is_known(path.name) or not _is_named(path, descriptor):
            return None
        status = os.fstat(descriptor)
        if adopt(path, status):
            return None
        path.unlink()
        return status.st_size
    finally:
        os.close(descriptor)


def check_free_space(folder: Path, size: int, reserve: int) -> None:
    """Check that the disk has room for `size` octets, with `reserve` octets left over.

    Raises:
        SpoolError: it has not.
    """
    with reading(folder):
        disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < size + reserve:
        raise full_error(
            f"The disk has {format_size(free)} free; this message needs {format_size(size)}, "
            f"and {format_size(reserve)} must stay free.",
            str(folder),
        )


async def stream_file(locate: Callable[[], tuple[Path, int]], size: int) -> AsyncGenerator[bytes]:
    """Yield `size` octets of a file.

    Args:
        locate: returns its path, and the offset of the first octet; called in the thread that opens it.
        size: the number of octets.

    Raises:
        SpoolError: it cannot be read, or is too short.
    """
    path, file, piece = await anyio.to_thread.run_sync(_open, locate, min(size, PIECE_SIZE))
    with file:
        while size:
            if not piece:
                raise unreadable_error(f"{path} is damaged: its end is missing.", f"{size} octets are missing")
            size -= len(piece)
            yield piece
            if size:
                with reading(path):
                    piece = await anyio.to_thread.run_sync(file.read, min(size, PIECE_SIZE))


def _open(locate: Callable[[], tuple[Path, int]], size: int) -> tuple[Path, FileIO, bytes]:
    """Return a file's path, the file, opened, and the octets of its first piece; most messages are no longer."""
    path, start = locate()
    with reading(path):
        file = path.open("rb", buffering=0)
        try:
            file.seek(start)
            return path, file, file.read(size)
        except BaseException:
            file.close()
            raise


def _create(path: Path) -> int | None:
    """Create a file and lock it; None if recovery removed it in between."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    if _try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _is_named(path: Path, descriptor: int) -> bool:
    """Tell whether an open file still has this name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _try_lock(descriptor: int) -> bool:
    """Lock an open file; return False if it is locked, or was removed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0
