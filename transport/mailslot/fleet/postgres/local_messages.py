"""The folder of this machine for messages that are being collected or handled."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Final

from mailslot.spool.working_folders import create_locked, remove_locked

if TYPE_CHECKING:
    from pathlib import Path


class LocalMessages:
    """A folder that is made when it is first needed, and locked, so that no other process removes it.

    Names of messages are random, so one folder can have those of several devices.

    Args:
        parent: the folder in which it is made; what killed processes have left there is removed.

    Attributes:
        path: where it is, or will be.
    """

    def __init__(self, parent: Path) -> None:
        self.path: Final = parent / secrets.token_hex(8)
        self._mutex = threading.Lock()
        self._lock: int | None = None

    def provide(self) -> Path:
        """Make it if it is not there; return its path. Blocks.

        Raises:
            SpoolError: it cannot be made.
        """
        with self._mutex:
            if self._lock is None:
                _, self._lock = create_locked(self.path.parent, self.path.name)
        return self.path

    def remove(self) -> None:
        """Remove it with all that is in it. Blocks."""
        with self._mutex:
            if self._lock is not None:
                remove_locked(self.path, self._lock)
                self._lock = None
