"""Exclusive use of a connection: tasks take turns, and any error but a refusal ends the dialogue."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import anyio

from mailslot.errors import ClosedError, RefusedError
from mailslot.net.event_loop import task_identifier

if TYPE_CHECKING:
    from types import TracebackType

    from mailslot.errors import Stage
    from mailslot.net.dialogue import Dialogue


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


class ExclusiveUse:
    """Exclusive use of a connection for one exchange; see `mailslot.net.dialogue.Dialogue.exclusive_use`."""

    __slots__ = ("_dialogue", "_lock", "_stage")

    def __init__(self, dialogue: Dialogue[Any], stage: Stage, lock: TurnLock) -> None:
        self._dialogue = dialogue
        self._stage: Stage = stage
        self._lock = lock

    async def __aenter__(self) -> None:
        if not self._lock.acquire_nowait():
            await self._lock.acquire()
        if self._dialogue.closed:
            self._lock.release()
            raise ClosedError(
                "The session with the mail server is closed.",
                stage=self._stage,
                cause="connection_lost",
            )
        self._dialogue.stage = self._stage
        self._dialogue.in_doubt = False

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        dialogue = self._dialogue
        try:
            if error is None:
                return
            if isinstance(error, RefusedError) and dialogue.alive:
                return
            await dialogue.abort()
            failure = dialogue.to_mail_error(error)
            if failure is not None:
                raise failure from error
        finally:
            dialogue.in_doubt = False
            self._lock.release()
