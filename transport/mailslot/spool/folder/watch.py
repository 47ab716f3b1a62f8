"""Watching for changes by this or another process.

On Linux the kernel reports them by inotify(7), since SQLite appends each commit of any process to its log. So an idle
service sleeps. On other systems, and if the user has no inotify instances left, the version of the database is read
five times a second.

The functions are called in the C library. The packages that wrap them need asyncio, a thread, or a program that looks
for that library.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from mailslot.vault.durable import file_version

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
    from pathlib import Path

    from mailslot.spool.folder.database import Database

_PAUSE: Final = 0.2
"""Seconds between two checks if the kernel does not report changes."""

_LONG_PAUSE: Final = 10.0
"""Seconds between two checks if it does."""

_PAUSES_AFTER_EVENT: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Seconds between the checks after the log was written to: a commit is written, then synced, and only then visible."""

_IN_MODIFY: Final = 0x2
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC  # IN_NONBLOCK and IN_CLOEXEC are the same on every architecture
_MAX_EVENTS: Final = 65536


async def watch_changes(database: Database) -> AsyncGenerator[None]:
    """Yield at once, and then after each commit by any process."""
    seen: tuple[int, int] | None = None
    pauses: Iterator[float] = iter(())
    with _watching(_log_of(database.path)) as wait:
        while True:
            version = await anyio.to_thread.run_sync(database.version)
            if version != seen:
                seen = version
                yield
            elif await wait(next(pauses, _LONG_PAUSE)):
                pauses = iter(_PAUSES_AFTER_EVENT)


def file_versions(path: Path) -> object:
    """Return a value that changes when the files of a database are removed, replaced or changed other than by a commit.

    Args:
        path: the database.
    """
    return file_version(path), [_inode(path.with_name(f"{path.name}{suffix}")) for suffix in ("-wal", "-shm")]


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


@contextmanager
def _watching(path: Path) -> Generator[Callable[[float], Awaitable[bool]]]:
    """Yield a function that waits until a file was written to since its last call, but no longer than some seconds.

    It returns whether it was.
    """
    inotify = _inotify_for(path)
    if inotify is None:
        yield _pause
        return

    async def wait(seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            await anyio.wait_readable(inotify)
            # Whatever is written after this is a new event.
            with suppress(BlockingIOError):
                os.read(inotify, _MAX_EVENTS)
            return True
        return False

    try:
        yield wait
    finally:
        os.close(inotify)


def _inotify_for(path: Path) -> int | None:
    """Return the descriptor of an inotify instance that watches a file; None if none is available."""
    library = ctypes.CDLL(None)
    try:
        descriptor: int = library.inotify_init1(_FLAGS)
    except AttributeError:
        return None
    if descriptor < 0:
        return None
    if library.inotify_add_watch(descriptor, os.fsencode(path), _IN_MODIFY) < 0:
        os.close(descriptor)
        return None
    return descriptor


async def _pause(_seconds: float) -> bool:
    await anyio.sleep(_PAUSE)
    return False
