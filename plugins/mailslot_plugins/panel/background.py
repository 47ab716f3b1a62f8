"""Tasks that outlive the request that started them, such as a connection test; pages show their progress."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import anyio

from mailslot.exit_guard import ExitGuard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup
    from starlette.datastructures import State

T = TypeVar("T")

_MAX_REMEMBERED: Final = 64
"""Tasks that are remembered; the oldest that has ended is forgotten first."""

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class BackgroundTask(Generic[T]):
    """A task that runs in the background.

    Attributes:
        subject: the object that it works on; pages read the task's progress from it.
        scope: cancels the task.
        ended: set once the task has ended, for whatever reason.
    """

    subject: T
    scope: anyio.CancelScope
    ended: anyio.Event

    @property
    def running(self) -> bool:
        """Whether it is still running."""
        return not self.ended.is_set()


class BackgroundTasks:
    """All background tasks of the panel, by keys such as ``("test", "smtp")``. They run while `run` does."""

    def __init__(self) -> None:
        self._group: TaskGroup | None = None
        self._tasks: dict[tuple[str, ...], BackgroundTask[Any]] = {}

    async def run(self) -> None:
        """Run tasks until cancelled, which cancels all of them."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                await anyio.sleep_forever()
            finally:
                self._group = None

    def start(self, key: tuple[str, ...], subject: T, work: Callable[[T], Awaitable[None]]) -> BackgroundTask[T]:
        """Start a task, and cancel the one that has the same key.

        Args:
            key: the key by which it is found.
            subject: passed to `work`, and read by pages.
            work: the task's function; it stores its result and its errors in `subject`, since nobody awaits it.

        Raises:
            RuntimeError: the panel is not running.
        """
        if self._group is None:
            raise RuntimeError("The panel does not run.")
        self.cancel(key)
        task = BackgroundTask(subject, anyio.CancelScope(), anyio.Event())
        self._tasks.pop(key, None)
        self._tasks[key] = task
        self._forget()
        self._group.start_soon(_run, task, work)
        return task

    def find(self, key: tuple[str, ...], kind: type[T]) -> BackgroundTask[T] | None:
        """Return the newest task with a key if its subject is of this class; None otherwise."""
        task = self._tasks.get(key)
        if task is None or not isinstance(task.subject, kind):
            return None
        return task

    def cancel(self, key: tuple[str, ...]) -> None:
        """Cancel the task with a key, if there is one."""
        if key in self._tasks:
            self._tasks[key].scope.cancel()

    @property
    def any_running(self) -> bool:
        """Whether any task is running."""
        return any(task.running for task in self._tasks.values())

    def _forget(self) -> None:
        ended = [key for key, task in self._tasks.items() if not task.running]
        for key in ended[: max(0, len(self._tasks) - _MAX_REMEMBERED)]:
            del self._tasks[key]


def tasks_of(state: State) -> BackgroundTasks:
    """Return the tasks of an application, from its state."""
    tasks: BackgroundTasks = state.tasks
    return tasks


async def _run(task: BackgroundTask[T], work: Callable[[T], Awaitable[None]]) -> None:
    try:
        with task.scope, ExitGuard():
            await work(task.subject)
    except Exception:
        # It must not take the panel down with it.
        logger.exception("A task of the panel has failed.")
    finally:
        task.ended.set()
