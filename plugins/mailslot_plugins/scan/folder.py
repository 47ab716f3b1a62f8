"""A watched folder: when a file in it is complete, and where the file goes afterwards.

Everything here blocks, possibly for long if the folder is on a network share that went away.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mailslot.vault import durable
from mailslot_plugins.scan.document import FileChangedError, FileState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAILED_FOLDER: Final = "failed"
"""The folder for files that cannot be mailed, each beside a text file with the reason."""

DONE_FOLDER: Final = "done"
"""The folder for mailed files, if they are kept."""

EMPTY_FILE_TIMEOUT: Final = 120.0
"""Seconds after which an empty file is not expected to be filled any more."""

_MAX_PLAUSIBLE_AGE: Final = 1e9
"""Seconds; a file that seems older was written by a device whose clock was never set."""
_CHUNK_SIZE: Final = 1 << 20
_TEMPORARY_SUFFIXES: Final = (
    ".part",
    ".tmp",
    ".temp",
    ".partial",
    ".filepart",
    ".crdownload",
    ".swp",
    ".lock",
    ".!ut",
    ".writing",
)
_WRITE_FLAGS: Final = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True, slots=True)
class FoundFile:
    """An entry of the folder that is to be processed now.

    Attributes:
        path: its path.
        state: its state when it was found.
        fault: why it cannot be mailed; empty if it can.
    """

    path: Path
    state: FileState
    fault: str = ""


class WatchedFolder:
    """A folder that is polled.

    Args:
        path: the folder.
        settle: seconds for which a file must stay unchanged before it counts as complete.
        monotonic: the monotonic clock, in seconds.
        wall_clock: the clock of the file system, in seconds since 1970.
    """

    def __init__(
        self, path: Path, settle: float, monotonic: Callable[[], float], wall_clock: Callable[[], float]
    ) -> None:
        self.path = path
        self._settle = settle
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._seen: dict[str, tuple[FileState, float]] = {}
        self._ignored: dict[str, FileState] = {}

    def list_complete(self) -> list[FoundFile]:
        """Return what is complete now, oldest first; an entry is returned until it is gone, changed or ignored.

        Raises:
            OSError: the folder is missing, cannot be read, or its share went away.
        """
        now = self._monotonic()
        entries = dict(self._entries())
        self._seen = {name: seen for name, seen in self._seen.items() if name in entries}
        self._ignored = {name: ignored for name, ignored in self._ignored.items() if name in entries}
        found: list[FoundFile] = []
        for name, status in entries.items():
            state = FileState.of(status)
            if self._ignored.get(name) == state:
                continue
            since = self._unchanged_since(name, state, now)
            fault = _fault(status, name)
            if fault or self._complete(name, status, now - since):
                found.append(FoundFile(self.path / name, state, fault or _empty_fault(status, name)))
        return sorted(found, key=lambda each: (each.state.modified, each.path.name))

    def ignore(self, found: FoundFile) -> None:
        """Do not return this entry again unless it changes."""
        self._ignored[found.path.name] = found.state

    def restart_wait(self, found: FoundFile) -> None:
        """Wait again for a file to stay unchanged."""
        self._seen.pop(found.path.name, None)

    def _entries(self) -> Iterator[tuple[str, os.stat_result]]:
        with os.scandir(self.path) as entries:
            for entry in entries:
                if is_temporary(entry.name):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if not stat.S_ISDIR(status.st_mode):
                    yield entry.name, status

    def _unchanged_since(self, name: str, state: FileState, now: float) -> float:
        before = self._seen.get(name)
        if before is not None and before[0] == state:
            return before[1]
        age = self._wall_clock() - state.modified / 1e9
        # A new file that was written some time ago was renamed into place.
        is_complete = before is None and state.size > 0 and self._settle <= age < _MAX_PLAUSIBLE_AGE
        self._seen[name] = (state, now - self._settle if is_complete else now)
        return self._seen[name][1]

    def _complete(self, name: str, status: os.stat_result, unchanged: float) -> bool:
        if not status.st_size:
            return unchanged >= max(EMPTY_FILE_TIMEOUT, self._settle)
        return unchanged >= self._settle and not is_open_for_writing(self.path / name)


def claim(path: Path) -> int | None:
    """Lock a folder, so that no other service on this machine takes files out of it, until `release` or our end.

    Returns:
        the folder's descriptor; None if another service has locked it. A file system without locks always succeeds.

    Raises:
        OSError: it is missing, or its share went away.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        pass
    return descriptor


def release(descriptor: int) -> None:
    """Unlock a folder."""
    with suppress(OSError):
        # Closing alone would leave the lock to a child forked in the meantime.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def is_temporary(name: str) -> bool:
    """Whether a name is one that programs give to files that they still write."""
    return name.startswith((".", "~")) or name.endswith("~") or name.lower().endswith(_TEMPORARY_SUFFIXES)


def is_open_for_writing(path: Path) -> bool:
    """Whether a process on this machine has the file open for writing, as far as we may look into processes."""
    try:
        target = path.stat()
        processes = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - thousands of them
    except OSError:
        return False
    return any(_has_open_for_writing(Path("/proc", process), target) for process in processes)


def _has_open_for_writing(process: Path, target: os.stat_result) -> bool:
    try:
        descriptors = os.listdir(process / "fd")  # noqa: PTH208 - as above
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            status = (process / "fd" / descriptor).stat()
            if (status.st_ino, status.st_dev) != (target.st_ino, target.st_dev):
                continue
            flags = (process / "fdinfo" / descriptor).read_text().partition("flags:")[2].split()
            if flags and int(flags[0], 8) & _WRITE_FLAGS:
                return True
        except (OSError, ValueError):
            continue
    return False


def fingerprint(found: FoundFile) -> str:
    """Return a digest of the file's path, state and content: it differs once the file is written again.

    Raises:
        FileChangedError: it has changed since it was found.
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    descriptor = os.open(found.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_SIZE):
            digest.update(chunk)
        after = os.fstat(descriptor)
    if FileState.of(after) != found.state or not stat.S_ISREG(after.st_mode):
        raise FileChangedError(f"The file {found.path.name!r} changed while it was read.", stage="data")
    state = found.state
    combined = hashlib.sha256(os.fsencode(found.path))
    combined.update(f"\0{state.inode}\0{state.modified}\0{digest.hexdigest()}".encode())
    return combined.hexdigest()


def is_unchanged(found: FoundFile) -> bool:
    """Whether the file is still there, unchanged.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        return FileState.of(found.path.lstat()) == found.state
    except FileNotFoundError:
        return False


def remove_mailed(found: FoundFile, after: str) -> None:
    """Delete a mailed file, or move it into the folder `done`; a file that no longer exists is not an error.

    Raises:
        OSError: neither can be done.
    """
    if not is_unchanged(found):
        # It is gone, or its name now belongs to a new scan.
        return
    if after == "delete":
        found.path.unlink(missing_ok=True)
        durable.sync_folder(found.path.parent)
    else:
        _move(found.path, DONE_FOLDER)


def set_aside(found: FoundFile, reason: str) -> Path:
    """Move a file that cannot be mailed into the folder `failed`, beside a text with the reason; return its new path.

    Raises:
        OSError: it cannot be moved.
    """
    return _move(found.path, FAILED_FOLDER, reason)


def _move(path: Path, folder: str, reason: str | None = None) -> Path:
    target = path.parent / folder
    target.mkdir(exist_ok=True)
    if target.is_symlink():
        # Somebody who may write to the share must not lead us out of it.
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is a link")
    place = _unused_path(target, path.name)
    if reason is not None:
        # The text is written first, so that no file is there without its reason.
        place.with_name(f"{place.name}.txt").write_text(f"{reason}\n", encoding="utf-8", errors="backslashreplace")
    try:
        path.rename(place)
    except FileNotFoundError:
        if reason is not None:
            place.with_name(f"{place.name}.txt").unlink(missing_ok=True)
        raise
    durable.sync_folder(target)
    durable.sync_folder(path.parent)
    return place


def _unused_path(folder: Path, name: str) -> Path:
    """Return a path that does not exist yet."""
    suffix = Path(name).suffix
    stem = name.removesuffix(suffix)
    for number in range(1, 1_000_000):
        place = folder / (name if number == 1 else f"{stem} ({number}){suffix}")
        if not os.path.lexists(place):
            return place
    raise FileExistsError(f"{folder} is full of files called {name!r}")


def _fault(status: os.stat_result, name: str) -> str:
    if stat.S_ISLNK(status.st_mode):
        return f"{name!r} is a link; links are not followed."
    if not stat.S_ISREG(status.st_mode):
        return f"{name!r} is not a file but a pipe, a socket or a device."
    return ""


def _empty_fault(status: os.stat_result, name: str) -> str:
    return "" if status.st_size else f"The file {name!r} is empty, and nothing has been written to it for a while."
