"""The folder on this machine for messages that are being received or handled."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Final

from mailslot.spool.working_folders import create_locked, remove_locked

if TYPE_CHECKING:
    from pathlib import Path


class LocalMessages:
    """A folder that is created when it is first needed, and locked so that no other process removes it.

    Names of messages are random, so several devices can share one folder.

    Args:
        parent: the folder in which it is created; folders left there by killed processes are removed.

    Attributes:
        path: its path.
    """

    def __init__(self, parent: Path) -> None:
        self.path: Final = parent / secrets.token_hex(8)
        self._mutex = threading.Lock()
        self._lock: int | None = None

    def provide(self) -> Path:
        """Create the folder unless it exists; return its path. Blocks.

        Raises:
            SpoolError: it cannot be created.
        """
        with self._mutex:
            if self._lock is None:
                _, self._lock = create_locked(self.path.parent, self.path.name)
        return self.path

    def remove(self) -> None:
        """Remove the folder with its contents. Blocks."""
        with self._mutex:
            if self._lock is not None:
                remove_locked(self.path, self._lock)
                self._lock = None
