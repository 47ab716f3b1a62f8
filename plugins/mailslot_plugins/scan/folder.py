"""A watched folder: when a file in it is complete, and what becomes of it afterwards.

Everything here blocks, and may do so for long where the folder is on a share that went away.
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
from mailslot_plugins.scan.document import ChangedError, FileState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAILED: Final = "failed"
"""The folder for files that cannot be mailed, each beside a text that says why."""

DONE: Final = "done"
"""The folder for files that were mailed, where they are kept."""

EMPTY_FOR: Final = 120.0
"""Seconds after which an empty file is no longer expected to be filled."""

_BELIEVED: Final = 1e9
"""Seconds; what claims to be older was written by a clock that was never set."""
_PIECE: Final = 1 << 20
_TEMPORARY: Final = (
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
_WRITES: Final = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True, slots=True)
class Found:
    """Something in the folder that is to be taken now.

    Attributes:
        path: what it is.
        state: as what it was seen.
        fault: why it cannot be mailed; empty where it can.
    """

    path: Path
    state: FileState
    fault: str = ""


class Folder:
    """A folder that is looked at again and again.

    Args:
        path: the folder.
        settle: seconds for which a file must not have changed.
        clock: seconds that nobody sets.
        wall: seconds since 1970, as the file system counts them.
    """

    def __init__(self, path: Path, settle: float, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self.path = path
        self._settle = settle
        self._clock = clock
        self._wall = wall
        self._seen: dict[str, tuple[FileState, float]] = {}
        self._left: dict[str, FileState] = {}

    def look(self) -> list[Found]:
        """Return what is complete now, the oldest first, each time until it is gone, changed or `leave` is called.

        Raises:
            OSError: the folder is missing, cannot be read, or its share went away.
        """
        now = self._clock()
        entries = dict(self._entries())
        self._seen = {name: seen for name, seen in self._seen.items() if name in entries}
        self._left = {name: left for name, left in self._left.items() if name in entries}
        found: list[Found] = []
        for name, status in entries.items():
            state = FileState.of(status)
            if self._left.get(name) == state:
                continue
            since = self._unchanged_since(name, state, now)
            fault = _fault(status, name)
            if fault or self._complete(name, status, now - since):
                found.append(Found(self.path / name, state, fault or _empty(status, name)))
        return sorted(found, key=lambda each: (each.state.modified, each.path.name))

    def leave(self, found: Found) -> None:
        """Do not give this one again unless it changes."""
        self._left[found.path.name] = found.state

    def again(self, found: Found) -> None:
        """Take the waiting for a file to be complete from the beginning."""
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
        age = self._wall() - state.modified / 1e9
        # What is here for the first time and was written some time ago was renamed into place.
        whole = before is None and state.size > 0 and self._settle <= age < _BELIEVED
        self._seen[name] = (state, now - self._settle if whole else now)
        return self._seen[name][1]

    def _complete(self, name: str, status: os.stat_result, unchanged: float) -> bool:
        if not status.st_size:
            return unchanged >= max(EMPTY_FOR, self._settle)
        return unchanged >= self._settle and not is_written(self.path / name)


def claim(path: Path) -> int | None:
    """Keep other services of this machine from taking files out of a folder until `release`, or until we end.

    Returns:
        the folder, opened; None where another service has it. Where its file system has no locks, nobody is kept out.

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
    """Let others take files out of a folder again."""
    with suppress(OSError):
        # Closing alone would leave the lock to a child forked in the meantime.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def is_temporary(name: str) -> bool:
    """Whether programs call files so while they write them."""
    return name.startswith((".", "~")) or name.endswith("~") or name.lower().endswith(_TEMPORARY)


def is_written(path: Path) -> bool:
    """Whether some process on this machine has a file open for writing, as far as we may see its files."""
    try:
        wanted = path.stat()
        processes = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - thousands of them
    except OSError:
        return False
    return any(_writes(Path("/proc", process), wanted) for process in processes)


def _writes(process: Path, wanted: os.stat_result) -> bool:
    try:
        descriptors = os.listdir(process / "fd")  # noqa: PTH208 - as above
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            status = (process / "fd" / descriptor).stat()
            if (status.st_ino, status.st_dev) != (wanted.st_ino, wanted.st_dev):
                continue
            flags = (process / "fdinfo" / descriptor).read_text().partition("flags:")[2].split()
            if flags and int(flags[0], 8) & _WRITES:
                return True
        except (OSError, ValueError):
            continue
    return False


def fingerprint(found: Found) -> str:
    """Return what tells this file from every other, and from itself once it was written anew.

    Raises:
        ChangedError: it is not what it was when it was found.
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    descriptor = os.open(found.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
        after = os.fstat(descriptor)
    if FileState.of(after) != found.state or not stat.S_ISREG(after.st_mode):
        raise ChangedError(f"The file {found.path.name!r} changed while it was read.", stage="data")
    state = found.state
    whole = hashlib.sha256(os.fsencode(found.path))
    whole.update(f"\0{state.inode}\0{state.modified}\0{digest.hexdigest()}".encode())
    return whole.hexdigest()


def is_same(found: Found) -> bool:
    """Whether the file is still there as it was found.

    Raises:
        OSError: the folder cannot be looked at.
    """
    try:
        return FileState.of(found.path.lstat()) == found.state
    except FileNotFoundError:
        return False


def put_away(found: Found, after: str) -> None:
    """Delete a file that was mailed, or move it into the folder `done`; one that is gone is no error.

    Raises:
        OSError: neither can be done.
    """
    if not is_same(found):
        # It is gone, or something new stands under its name, which is another scan.
        return
    if after == "delete":
        found.path.unlink(missing_ok=True)
        durable.sync_folder(found.path.parent)
    else:
        _move(found.path, DONE)


def set_aside(found: Found, reason: str) -> Path:
    """Move what cannot be mailed into the folder `failed`, beside a text that says why; return where it is now.

    Raises:
        OSError: it cannot be moved.
    """
    return _move(found.path, FAILED, reason)


def _move(path: Path, folder: str, reason: str | None = None) -> Path:
    target = path.parent / folder
    target.mkdir(exist_ok=True)
    if target.is_symlink():
        # Whoever may write to the share must not lead us elsewhere.
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is a link")
    place = _free(target, path.name)
    if reason is not None:
        # The text first: a file there always says why.
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


def _free(folder: Path, name: str) -> Path:
    """Return a path that nothing stands at."""
    suffix = Path(name).suffix
    stem = name.removesuffix(suffix)
    for number in range(1, 1_000_000):
        place = folder / (name if number == 1 else f"{stem} ({number}){suffix}")
        if not os.path.lexists(place):
            return place
    raise FileExistsError(f"{folder} is full of files called {name!r}")


def _fault(status: os.stat_result, name: str) -> str:
    if stat.S_ISLNK(status.st_mode):
        return f"{name!r} is a link, and links are not followed."
    if not stat.S_ISREG(status.st_mode):
        return f"{name!r} is no file, but a pipe, a socket or a device."
    return ""


def _empty(status: os.stat_result, name: str) -> str:
    return "" if status.st_size else f"The file {name!r} is empty, and nothing was written into it for a while."
