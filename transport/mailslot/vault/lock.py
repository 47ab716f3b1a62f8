"""Locks across tasks, threads and processes, by flock(2) on a file.

The kernel releases the lock when its holder dies. The lock belongs to the open file description, so each holder opens
the file itself, and tasks of one process exclude each other like processes. The file is empty and never deleted, since
deleting it would admit a second holder. It must be on a local file system.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from mailslot.vault import durable
from mailslot.vault.errors import VaultError, writing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator
    from pathlib import Path

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05


@asynccontextmanager
async def process_lock(path: Path, *, timeout: float) -> AsyncGenerator[None]:
    """Hold the lock at `path` while the block runs, on asyncio and trio.

    Args:
        path: the lock file; it and its folder are created if missing.
        timeout: seconds to wait for another holder; 0 to try once.

    Raises:
        VaultError: `token_store_busy`, the timeout expired; `token_store_unwritable`, the file cannot be opened.
    """
    with writing(path):
        await anyio.to_thread.run_sync(durable.make_folder, path.parent)
    # Nothing below blocks, and the file is closed even if the task is cancelled.
    with _lock_file(path) as descriptor:
        pauses = _pauses(path, timeout, anyio.current_time)
        while not _try_lock(path, descriptor):  # noqa: ASYNC110 - no event tells of another process
            await anyio.sleep(next(pauses))
        yield


@contextmanager
def blocking_lock(path: Path, *, timeout: float) -> Generator[None]:
    """Hold the lock at `path` as `process_lock` does, blocking the calling thread."""
    with writing(path):
        durable.make_folder(path.parent)
    with _lock_file(path) as descriptor:
        pauses = _pauses(path, timeout, time.monotonic)
        while not _try_lock(path, descriptor):
            time.sleep(next(pauses))
        yield


@contextmanager
def _lock_file(path: Path) -> Generator[int]:
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        # Closing is not enough: a forked child would still hold the lock.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _try_lock(path: Path, descriptor: int) -> bool:
    with writing(path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _pauses(path: Path, timeout: float, clock: Callable[[], float]) -> Iterator[float]:
    """Yield the seconds to sleep before each further try; the last try is at the end of `timeout`."""
    end = clock() + timeout
    pause = _FIRST_PAUSE
    while (left := end - clock()) > 0:
        yield min(pause, left)
        pause = min(2 * pause, _LONGEST_PAUSE)
    raise VaultError(
        f"The token store is in use by another process of mailslot, which has not finished within {timeout:g} seconds.",
        cause="token_store_busy",
        retryable=True,
        detail=f"{path} is locked",
    )
