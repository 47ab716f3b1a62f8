"""Files that change together: all of them or none, though the disk is full or the process is killed at any moment.

Each new content is written beside its file, as ``NAME.next``, and flushed. Then the journal names them all: once it
is on the disk, the change has been made. What is left are renames, which need no room; whoever comes next does what a
crash has left of them. So whoever reads one of the files calls `Journal.settle` before.
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

NAME: Final = "change.json"

WAIT: Final = 10.0
"""How long a change waits for another one to end, in seconds."""

_LARGEST: Final = 64 * 1024


class Journal:
    """The journal of one home folder. Everything here blocks: call it in a thread.

    Args:
        home: the home folder.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = home / NAME

    def exclusive(self) -> AbstractContextManager[None]:
        """Return the right to change keys, secrets and what changes with them, over all threads and processes."""
        return blocking_lock(self._home / "key.lock", timeout=WAIT)

    def settle(self) -> None:
        """Finish a change whose process has died; wait for one that goes on.

        Raises:
            VaultError: it cannot be finished now.
        """
        if self._path.exists():
            with self.exclusive():
                self.finish()

    def finish(self) -> None:
        """Finish a change whose process has died; only whoever is in `exclusive` may ask.

        Raises:
            VaultError: it cannot be finished now.
        """
        with writing(self._home):
            octets = durable.read(self._path, _LARGEST)
            if octets is None:
                return
            for path, is_removed in self._named(octets):
                if is_removed:
                    durable.remove(path)
                else:
                    with suppress(FileNotFoundError):  # it has been renamed already
                        _beside(path).replace(path)
                    durable.flush(path.parent)
            durable.remove(self._path)

    def replace(self, contents: Mapping[Path, bytes | None]) -> None:
        """Make files hold new contents, or be gone where that is None: all of it, or nothing.

        Only whoever is in `exclusive` may ask. It is on the disk once this returns.

        Raises:
            OSError: it could not be written, and nothing has changed.
            VaultError: it has been made, and its files cannot be renamed now; whoever comes next does so.
        """
        written = [path for path, octets in contents.items() if octets is not None]
        try:
            for path in written:
                durable.write(_beside(path), contents[path] or b"")
            for folder in {path.parent for path in written}:
                durable.flush(folder)
            durable.replace(self._path, self._naming(contents))
        except OSError:
            self._withdraw(written)
            raise
        self.finish()

    def _withdraw(self, written: Collection[Path]) -> None:
        # The journal first: without it, nothing else means anything.
        for path in (self._path, *map(_beside, written)):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _naming(self, contents: Mapping[Path, bytes | None]) -> bytes:
        # Beneath the home folder by their names there, since that may be moved.
        return json.dumps(
            [[os.path.relpath(path, self._home), octets is None] for path, octets in contents.items()]
        ).encode()

    def _named(self, octets: bytes) -> list[tuple[Path, bool]]:
        try:
            return [(Path(os.path.normpath(self._home / name)), bool(gone)) for name, gone in json.loads(octets)]
        except (ValueError, TypeError):
            # It is written as a whole, so that this is none of ours.
            return []


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")
