"""Counting what a piece of code costs: its calls and its system calls, which do not depend on the machine."""

from __future__ import annotations

import select
import socket
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from anyio._core._eventloop import get_async_backend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Self

WAITS = {"poll", "select", "control"}
"""The system calls by which an event loop waits."""


class Costs:
    """The calls of this thread while the context is open.

    Attributes:
        calls: calls of functions in Python and of built-in ones.
        system_calls: those on sockets and selectors, by name.
        counting: whether the context is open.
        waits_begun: released for each wait of the event loop, so that another thread can let it wait.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.counting = False
        self.system_calls: Counter[str] = Counter()
        self.waits_begun = threading.Semaphore(0)

    @property
    def waits(self) -> int:
        """How often the event loop asked whether something has come."""
        return sum(self.system_calls[name] for name in WAITS)

    def clear(self) -> None:
        """Begin to count anew."""
        self.calls = 0
        self.system_calls.clear()

    def __enter__(self) -> Self:
        self.counting = True
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        self.counting = False

    def _count(self, _: FrameType, event: str, called: Any) -> None:
        if event not in {"call", "c_call"}:
            return
        self.calls += 1
        owner = getattr(called, "__self__", None)
        if event == "c_call" and isinstance(owner, (socket.socket, _EPOLL)):
            self.system_calls[called.__name__] += 1
            if called.__name__ in WAITS:
                self.waits_begun.release()


_EPOLL: type[Any] = getattr(select, "epoll", type(None))


class Threads:
    """The calls in worker threads.

    Attributes:
        calls: how often a thread was called for.
        running: how many of these calls have not returned.
    """

    def __init__(self) -> None:
        self.calls = self.running = 0


@contextmanager
def threads_counted() -> Iterator[Threads]:
    """Count the calls in worker threads for this event loop."""
    # Every call goes through this method, whatever limiter it has; there is no public place that all go through.
    backend, threads = get_async_backend(), Threads()
    run: Any = backend.run_sync_in_worker_thread

    async def counted(*arguments: Any, **options: Any) -> Any:
        threads.calls += 1
        threads.running += 1
        try:
            return await run(*arguments, **options)
        finally:
            threads.running -= 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "run_sync_in_worker_thread", counted)
        yield threads


class Commits:
    """What SQLite syncs of the commits of a connection that it traces: each at FULL, none at NORMAL.

    Attributes:
        levels: the level of each commit of changes, in their order (``PRAGMA synchronous``).
    """

    def __init__(self) -> None:
        self.levels: list[str] = []
        self._level, self._begun = "FULL", ""

    def note(self, statement: str) -> None:
        """Take a statement; to be set as the connection's trace callback."""
        if statement.startswith("PRAGMA synchronous="):
            self._level = statement.partition("=")[2]
        elif statement.startswith("BEGIN"):
            self._begun = statement
        elif statement == "COMMIT" and self._begun == "BEGIN IMMEDIATE":
            self.levels.append(self._level)
