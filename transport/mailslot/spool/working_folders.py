"""Temporary folders in the home folder, for documents that are being taken apart or put together.

They are not in the system's folder for temporary files: that may be small and in memory, and what a killed process
leaves there stays. Here, each folder is locked by its process (flock(2)), and making one removes those without a lock.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from anyio import CancelScope
from anyio.to_thread import run_sync

from mailslot.spool.errors import writing
from mailslot.vault import durable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@asynccontextmanager
async def working_folder(parent: Path) -> AsyncGenerator[Path]:
    """Create a folder that only its owner can read, and remove it at the end with its contents.

    Args:
        parent: the folder of all working folders; it is created if it is missing.

    Raises:
        SpoolError: it cannot be created.
    """
    path, lock = await run_sync(create_locked, parent)
    try:
        yield path
    finally:
        with CancelScope(shield=True):
            await run_sync(remove_locked, path, lock)


def remove_abandoned_folders(parent: Path) -> None:
    """Remove the folders whose process has ended; what cannot be removed is left. Blocks."""
    try:
        entries = list(parent.iterdir())
    except OSError:
        return
    for path in entries:
        lock = _lock(path)
        if lock is not None:
            remove_locked(path, lock)


def create_locked(parent: Path, name: str = "") -> tuple[Path, int]:
    """Create a folder that this process has locked; return it, and the descriptor of its lock. Blocks.

    Args:
        parent: the folder of all working folders.
        name: its name, which no other process may choose; empty for any.

    Raises:
        SpoolError: it cannot be created.
    """
    with writing(parent):
        durable.make_folder(parent)
        remove_abandoned_folders(parent)
        while True:
            path = _make_folder(parent / name) if name else Path(mkdtemp(dir=parent))
            lock = _lock(path)
            # Another process may have removed it before it was locked.
            if lock is not None:
                return path, lock


def _make_folder(path: Path) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def remove_locked(path: Path, lock: int) -> None:
    """Remove a folder with its contents, and release its lock. Blocks."""
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


def _lock(path: Path) -> int | None:
    """Lock a folder; None if it is locked, was removed, or is not a folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink > 0:
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
