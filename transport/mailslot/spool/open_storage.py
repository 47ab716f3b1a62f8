"""The storage of the spool of a home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from mailslot.home.folder import FolderHome
from mailslot.spool.folder.storage import FolderStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.home.home import Home
    from mailslot.spool.storage import Storage


@runtime_checkable
class KeepsSpool(Protocol):
    """A home that keeps its spool elsewhere than in its folder."""

    def spool_storage(self) -> Storage:
        """Return the storage of its spool, which is not open yet."""
        ...


def open_storage(home: Home, clock: Callable[[], float]) -> Storage:
    """Return the storage of the spool of a home, which is not open yet.

    Args:
        home: the home.
        clock: returns the time in seconds since 1970.
    """
    if isinstance(home, KeepsSpool):
        return home.spool_storage()
    if isinstance(home, FolderHome):
        return FolderStorage(home.folder.absolute() / "spool", clock)
    raise TypeError(f"{type(home).__name__} keeps no spool")
