"""Work that outlives the request that began it, such as a connection test or a sign-in: pages look at how it goes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import anyio

from mailslot.exit_guard import ExitGuard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

T = TypeVar("T")

_MOST: Final = 64
"""Pieces of work that are remembered; the oldest that has ended is forgotten first."""

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class BackgroundTask(Generic[T]):
    """A piece of work.

    Attributes:
        about: what it works on and tells pages by.
        scope: cancels it.
        ended: set once it has ended, in whichever way.
    """

    about: T
    scope: anyio.CancelScope
    ended: anyio.Event

    @property
    def running(self) -> bool:
        """Whether it still goes on."""
        return not self.ended.is_set()


class BackgroundTasks:
    """All of it, by keys such as ``("test", "smtp")``. It goes on while `run` does."""

    def __init__(self) -> None:
        self._group: TaskGroup | None = None
        self._pieces: dict[tuple[str, ...], BackgroundTask[Any]] = {}

    async def run(self) -> None:
        """Let work be done until cancelled, which cancels all of it."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                await anyio.sleep_forever()
            finally:
                self._group = None

    def start(self, key: tuple[str, ...], about: T, work: Callable[[T], Awaitable[None]]) -> BackgroundTask[T]:
        """Begin a piece of work, in place of the one with the same key, which is cancelled.

        Args:
            key: what it is found by.
            about: what `work` is called with, and what pages look at.
            work: does it; it says in `about` what came of it, since nobody is there to catch what it raises.

        Raises:
            RuntimeError: nothing is being served.
        """
        if self._group is None:
            raise RuntimeError("The panel does not run.")
        self.cancel(key)
        piece = BackgroundTask(about, anyio.CancelScope(), anyio.Event())
        self._pieces.pop(key, None)
        self._pieces[key] = piece
        self._forget()
        self._group.start_soon(_do, piece, work)
        return piece

    def find(self, key: tuple[str, ...], kind: type[T]) -> BackgroundTask[T] | None:
        """Return the newest piece of work with a key, if it is about such a thing; None where there is none."""
        piece = self._pieces.get(key)
        if piece is None or not isinstance(piece.about, kind):
            return None
        return piece

    def cancel(self, key: tuple[str, ...]) -> None:
        """Cancel the work with a key, if there is any."""
        if key in self._pieces:
            self._pieces[key].scope.cancel()

    def _forget(self) -> None:
        ended = [key for key, piece in self._pieces.items() if not piece.running]
        for key in ended[: max(0, len(self._pieces) - _MOST)]:
            del self._pieces[key]


async def _do(piece: BackgroundTask[T], work: Callable[[T], Awaitable[None]]) -> None:
    try:
        with piece.scope, ExitGuard():
            await work(piece.about)
    except Exception:
        # It must not take the panel down with it.
        logger.exception("A task of the panel has failed.")
    finally:
        piece.ended.set()
