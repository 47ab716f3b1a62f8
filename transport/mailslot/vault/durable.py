"""Replacing small files atomically and durably: after a power cut a file has its old or its new contents.

The new contents are written to ``NAME.new``, synced, renamed, and the folder is synced. Only one process at a time may
replace a file, so the caller holds a lock. A temporary file left by a crash is overwritten by the next replacement.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_GROUP_AND_OTHERS: Final = 0o077


def read(path: Path, limit: int, check: Callable[[os.stat_result], None] | None = None) -> bytes | None:
    """Return the contents of a file; None if there is no such file.

    Args:
        path: the file.
        limit: the maximum octets.
        check: called with the status of the open file before it is read; raises to refuse it.

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
    """Replace the contents of a file, readable only by its owner; it is on the disk once this returns.

    Raises:
        OSError: it could not be written; the file is unchanged, unless only syncing its folder failed.
    """
    fresh = _temporary_path(path)
    try:
        write_temporary(fresh, octets)
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_temporary(path: Path, octets: bytes) -> None:
    """Write and sync a temporary file, replacing one of its name; the folder is not synced.

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
    """Remove a file and its temporary file; the removal is on the disk once this returns.

    Raises:
        OSError: it could not be removed.
    """
    for each in (_temporary_path(path), path):
        each.unlink(missing_ok=True)
    sync_folder(path.parent)


def file_version(path: Path) -> object:
    """Return a value that changes whenever a file is written or replaced; None if there is no such file."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, accessible only by their owner; existing ones are left unchanged.

    Raises:
        OSError: it could not be created.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def make_private_folder(folder: Path) -> None:
    """Create a folder as `make_folder` does; make an existing one accessible only by its owner.

    A symbolic link is left unchanged, since somebody has placed it there on purpose.

    Raises:
        OSError: it could not be created or changed.
    """
    make_folder(folder)
    if folder.is_symlink() or not folder.stat().st_mode & _GROUP_AND_OTHERS:
        return
    folder.chmod(0o700)
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)  # noqa: PTH118 - there may be many
            if not os.path.islink(path):  # noqa: PTH114 - as above
                os.chmod(path, os.stat(path).st_mode & ~_GROUP_AND_OTHERS)  # noqa: PTH101, PTH116 - as above


def _temporary_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def sync_folder(folder: Path) -> None:
    """Sync the directory entries of a folder.

    Raises:
        OSError: they could not be synced.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
