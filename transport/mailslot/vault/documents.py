"""Small documents by name, such as ``mailslot.toml`` and ``vault/smtp.json``, which can be changed together."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from mailslot.vault import durable
from mailslot.vault.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

_MTIME_RESOLUTION: Final = 2e9  # nanoseconds: the coarsest file system (FAT) has time stamps of 2 seconds


class Documents(Protocol):
    """The documents of one device. Every method blocks: call it in a thread.

    Names are relative paths with ``/``. Where they cannot be read or written, every method may raise `OSError`.
    """

    def path(self, name: str) -> Path:
        """Return what stands for a document in sentences; for files, its path."""
        ...

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a document of at most `limit` octets; None if there is none.

        Raises:
            OSError: it cannot be read, or is larger than `limit`.
        """
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the documents directly in a folder, without the folder."""
        ...

    def version(self, name: str) -> object:
        """Return a value that changes whenever a document is written; None if there is none."""
        ...

    def state(self, name: str) -> object | None:
        """Return a value that differs after a document has changed; None if a change could go unnoticed."""
        ...

    def modified_at(self, name: str) -> float:
        """Return when a document was written last, in seconds since 1970; 0.0 if there is none."""
        ...

    def configuration_version(self) -> object:
        """Return a value that changes whenever a setting, a secret or a key does."""
        ...

    def may_wait(self) -> bool:
        """Whether reading may have to wait for another process, or a database. It does not block."""
        ...

    def recover_if_needed(self) -> None:
        """Complete a change that was committed by a process that has died.

        Raises:
            VaultError: it cannot be completed now.
        """
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Return the lock for changing documents, across threads and processes, as a context manager.

        Raises:
            VaultError: `token_store_busy`, another change takes too long.
        """
        ...

    def replace(self, contents: Mapping[str, bytes | None]) -> None:
        """Replace several documents atomically; None removes one. Needs the `exclusive` lock if there are several.

        They are durable once the outermost `exclusive` block has ended, or this has returned if there is none.
        """
        ...


class FolderDocuments:
    """Documents that are files in a home folder; see `Documents`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._journal = Journal(home)

    def path(self, name: str) -> Path:
        """Return the path of a document."""
        return self._home / name

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a document; None if there is none."""
        return durable.read(self.path(name), limit, _check_regular)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder."""
        try:
            return [path.name for path in self.path(folder).iterdir()]
        except FileNotFoundError:
            return []

    def version(self, name: str) -> object:
        """Return a value that changes whenever a file is written or replaced; None if there is none."""
        return durable.file_version(self.path(name))

    def state(self, name: str) -> object | None:
        """Return a value that differs after a file has changed; None if a change could go unnoticed."""
        try:
            found = self.path(name).stat()
        except OSError as error:
            return error.errno
        if abs(time.time_ns() - found.st_mtime_ns) < _MTIME_RESOLUTION:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode

    def modified_at(self, name: str) -> float:
        """Return when a file was written last; 0.0 if there is none."""
        try:
            return self.path(name).stat().st_mtime
        except OSError:
            return 0.0

    def configuration_version(self) -> object:
        """Return a value that changes whenever a setting, a secret or a key does."""
        return tuple(durable.file_version(self._home / name) for name in ("mailslot.toml", "vault", "key"))

    def may_wait(self) -> bool:
        """Whether a change of several documents is under way."""
        return self._journal.exists()

    def recover_if_needed(self) -> None:
        """Complete a change that was committed by a process that has died."""
        self._journal.recover_if_needed()

    @contextmanager
    def exclusive(self) -> Generator[None]:
        """Hold the lock for changing documents and keys."""
        with self._journal.exclusive():
            self._journal.recover()
            yield

    def replace(self, contents: Mapping[str, bytes | None]) -> None:
        """Replace several files atomically; None removes one."""
        files = {self._target(name): octets for name, octets in contents.items()}
        for path in files:
            durable.make_folder(path.parent)
        match list(files.items()):
            case []:
                pass
            case [(path, None)]:
                durable.remove(path)
            case [(path, bytes() as octets)]:
                durable.replace(path, octets)
            case _:
                self._journal.replace(files)

    def _target(self, name: str) -> Path:
        """Return the file to be replaced: the target of a symbolic link, which somebody has placed there on purpose."""
        path = self.path(name)
        return path.resolve() if path.is_symlink() else path


def _check_regular(state: os.stat_result) -> None:
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "It is not a file")
