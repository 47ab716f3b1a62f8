"""Changing several files atomically, even if the disk is full or the process is killed at any moment.

The new contents of each file are written to ``NAME.next`` and synced. Then the journal, which lists them all, is
written: once it is on the disk, the change is committed. Only renames are left, which need no space; after a crash the
next user completes them. So every reader of one of the files first calls `Journal.recover_if_needed`.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mailslot.vault import durable
from mailslot.vault.errors import writing
from mailslot.vault.lock import blocking_lock

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager

JOURNAL_NAME: Final = "change.json"

LOCK_TIMEOUT: Final = 10.0
"""Seconds to wait for another change to finish."""

_MAX_SIZE: Final = 64 * 1024


class Journal:
    """The journal of one home folder. Every method blocks: call it in a thread."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = home / JOURNAL_NAME

    def exclusive(self) -> AbstractContextManager[None]:
        """Return the lock for changing keys, secrets and files that change with them, across threads and processes."""
        return blocking_lock(self._home / "key.lock", timeout=LOCK_TIMEOUT)

    def exists(self) -> bool:
        """Whether a change is committed and not complete."""
        return self._path.exists()

    def recover_if_needed(self) -> None:
        """Complete a committed change of a process that has died; wait for one that is in progress.

        Raises:
            VaultError: it cannot be completed now.
        """
        if self.exists():
            with self.exclusive():
                self.recover()

    def recover(self) -> None:
        """Complete a committed change of a process that has died. Needs the `exclusive` lock.

        Raises:
            VaultError: it cannot be completed now.
        """
        with writing(self._home):
            octets = durable.read(self._path, _MAX_SIZE)
            if octets is None:
                return
            for path, is_removed in self._decode(octets):
                if is_removed:
                    durable.remove(path)
                else:
                    with suppress(FileNotFoundError):  # it has been renamed already
                        _temporary_path(path).replace(path)
                    durable.sync_folder(path.parent)
            durable.remove(self._path)

    def replace(self, contents: Mapping[Path, bytes | None]) -> None:
        """Replace the contents of several files atomically; None removes a file. Needs the `exclusive` lock.

        The change is on the disk once this returns.

        Raises:
            OSError: it could not be written, and nothing has changed.
            VaultError: it is committed, but the files cannot be renamed now; the next user completes it.
        """
        written = [path for path, octets in contents.items() if octets is not None]
        try:
            for path in written:
                durable.write_temporary(_temporary_path(path), contents[path] or b"")
            for folder in {path.parent for path in written}:
                durable.sync_folder(folder)
            durable.replace(self._path, self._encode(contents))
        except OSError:
            self._roll_back(written)
            raise
        self.recover()

    def _roll_back(self, written: Collection[Path]) -> None:
        # The journal first: without it the other files have no effect.
        for path in (self._path, *map(_temporary_path, written)):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _encode(self, contents: Mapping[Path, bytes | None]) -> bytes:
        # Relative to the home folder, which may be moved.
        return json.dumps(
            [[os.path.relpath(path, self._home), octets is None] for path, octets in contents.items()]
        ).encode()

    def _decode(self, octets: bytes) -> list[tuple[Path, bool]]:
        try:
            return [(Path(os.path.normpath(self._home / name)), bool(removed)) for name, removed in json.loads(octets)]
        except (ValueError, TypeError):
            # The journal is written atomically, so this file is not one of ours.
            return []


def _temporary_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")
