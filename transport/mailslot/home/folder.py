"""A home in a folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mailslot.oauth.location import locate
from mailslot.vault.documents import FolderDocuments
from mailslot.vault.keys import KeyRing
from mailslot.vault.lock import blocking_lock, process_lock

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from mailslot.home.home import Home
    from mailslot.oauth.location import Location

_LOCKS: Final = "locks"


class FolderHome:
    """A home folder; see `mailslot.home.home.Home`. Nothing is created before something is stored.

    Args:
        folder: the folder.
        credentials: the service manager's folder of credentials; None without one.
    """

    def __init__(self, folder: Path, credentials: Path | None = None) -> None:
        self.is_local: Final = True
        self.is_shared: Final = False
        self.folder: Final = folder
        self.documents: Final = FolderDocuments(folder)
        self.keys: Final = KeyRing(folder, credentials)
        self.shared_secrets: Final = None

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    def has_spool(self) -> bool:
        """Whether there is a queue already."""
        return (self.folder / "spool").is_dir()

    def lock(self, name: str, *, timeout: float) -> AbstractAsyncContextManager[None]:
        """Hold a lock file."""
        return process_lock(self._lock_file(name), timeout=timeout)

    def blocking_lock(self, name: str, *, timeout: float) -> AbstractContextManager[None]:
        """Hold a lock file, blocking the calling thread."""
        return blocking_lock(self._lock_file(name), timeout=timeout)

    def confirm_lock(self, name: str) -> None:
        """Do nothing, since the system keeps a lock file as long as the process lives."""

    def is_locked(self, name: str) -> bool:
        """Whether anybody holds a lock file; also True if that is unknown."""
        try:
            descriptor = os.open(self._lock_file(name), os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def has_workers(self) -> bool:
        """Return False: no fleet knows of it."""
        return False

    def locate(self, name: str) -> Location:
        """Return the location of a lock file."""
        return locate(self._lock_file(name))

    def _lock_file(self, name: str) -> Path:
        return self.folder / _LOCKS / f"{name}.lock"


def home_of(place: Path | Home) -> Home:
    """Return the home in a folder, or the home itself."""
    return FolderHome(place) if isinstance(place, Path) else place


def user_of(folder: Path) -> int | None:
    """Return the id of the user as whom mailslot runs in a home folder; None if it has not run there."""
    try:
        return (folder / _LOCKS).stat().st_uid
    except OSError:
        return None
