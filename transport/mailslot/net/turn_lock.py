"""A lock that tasks of one event loop take in turn, for a connection that several of them use."""

from __future__ import annotations

from collections import deque

import anyio

from mailslot.net.event_loop import task_identifier


class TurnLock:
    """A lock that tasks get in the order in which they have asked for it.

    It is `anyio.Lock` with ``fast_acquire``, but does not find out at each call which event loop runs.
    """

    __slots__ = ("_current_task", "_owner", "_waiting")

    def __init__(self) -> None:
        self._current_task = task_identifier()
        self._owner: object = None
        self._waiting: deque[tuple[object, anyio.Event]] = deque()

    def acquire_nowait(self) -> bool:
        """Take the lock if nobody has it; return whether it was taken."""
        if self._owner is not None:
            return False
        self._owner = self._current_task()
        return True

    async def acquire(self) -> None:
        """Wait for the lock, which another task has.

        Raises:
            RuntimeError: this task has it itself, and would wait forever.
        """
        task = self._current_task()
        if self._owner == task:
            raise RuntimeError("the connection is in use by this task")
        turn = task, anyio.Event()
        self._waiting.append(turn)
        try:
            await turn[1].wait()
        except BaseException:
            if self._owner == task:
                # Its turn came at the moment of its cancellation.
                self.release()
            else:
                self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Give the lock to the task that has waited longest, if any waits."""
        if not self._waiting:
            self._owner = None
            return
        self._owner, event = self._waiting.popleft()
        event.set()
