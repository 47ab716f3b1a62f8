"""Small files that a power cut finds whole: as they were, or as they were to be.

A file is replaced by writing another beside it, called ``NAME.new``, and renaming that; the file and then its
folder are flushed to the disk. Only one process at a time may replace a file, so whoever calls holds a lock. What a
crash leaves beside it is overwritten by the next replacement.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_OTHERS: Final = 0o077


def read(path: Path, limit: int, check: Callable[[os.stat_result], None] | None = None) -> bytes | None:
    """Return what a file holds; None where there is no such file.

    Args:
        path: the file.
        limit: how many octets it may hold.
        check: called with the state of the open file before anything is read; raises to refuse it.

    Raises:
        OSError: it cannot be read, or is larger than `limit`.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if check is not None:
            check(os.fstat(descriptor))
        octets = file.read(limit + 1)
    if len(octets) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return octets


def replace(path: Path, octets: bytes) -> None:
    """Make a file hold `octets`, readable by its owner alone; it is on the disk once this returns.

    Raises:
        OSError: it could not be written; the file is as it was, unless only flushing its folder failed.
    """
    fresh = _beside(path)
    try:
        write(fresh, octets)
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    flush(path.parent)


def write(path: Path, octets: bytes) -> None:
    """Write a file that nobody reads yet, in the place of one of its name; its octets are on the disk, not its name.

    Raises:
        OSError: it could not be written.
    """
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        rest = memoryview(octets)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, and what a crash may have left beside it; it is gone from the disk once this returns.

    Raises:
        OSError: it could not be removed.
    """
    for each in (_beside(path), path):
        each.unlink(missing_ok=True)
    flush(path.parent)


def stamp(path: Path) -> object:
    """Return what differs once a file was written or replaced; None where there is none to be seen."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, for their owner alone; one that is there is left as it is.

    Raises:
        OSError: it could not be made.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        flush(folder.parent)


def make_private_folder(folder: Path) -> None:
    """Make a folder as `make_folder` does; of one that is there and open to others, let nobody but its owner in.

    A link is left as it is, for somebody has put it there.

    Raises:
        OSError: it could not be made or closed.
    """
    make_folder(folder)
    if folder.is_symlink() or not folder.stat().st_mode & _OTHERS:
        return
    folder.chmod(0o700)
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)  # noqa: PTH118 - there may be many
            if not os.path.islink(path):  # noqa: PTH114 - as above
                os.chmod(path, os.stat(path).st_mode & ~_OTHERS)  # noqa: PTH101, PTH116 - as above


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def flush(folder: Path) -> None:
    """Put the names in a folder onto the disk.

    Raises:
        OSError: they could not be.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
