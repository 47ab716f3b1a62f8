"""What depends on the event loop that runs: its clock, its tasks, and how it waits for octets."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from mailslot.net.waiter import AnyioWaiter, AsyncioWaiter

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import ModuleType

    from mailslot.net.waiter import Waiter


def new_waiter(connected: socket.socket, read_arrived: Callable[[], bool]) -> Waiter:
    """Return a waiter for the event loop that runs.

    Args:
        connected: the socket.
        read_arrived: reads the octets that have arrived; returns False if there are none. The waiter may call it
            before the task that waits goes on.
    """
    if _in_asyncio():
        with suppress(NotImplementedError):
            return AsyncioWaiter(connected, read_arrived)
        return AnyioWaiter(connected)
    # Loaded only where Trio is.
    from mailslot.net.trio_waiter import TrioWaiter  # noqa: PLC0415

    return TrioWaiter(connected)


def current_clock() -> Callable[[], float]:
    """Return the clock of the event loop that runs: `anyio.current_time`, without asking each time which loop it is."""
    if _in_asyncio():
        loop = asyncio.get_running_loop()
        # What loops return that have no clock of their own.
        return time.monotonic if type(loop).time is asyncio.BaseEventLoop.time else loop.time
    if (trio := _trio()) is not None:
        clock: Callable[[], float] = trio.lowlevel.current_clock().current_time
        return clock
    return anyio.current_time


def task_identifier() -> Callable[[], object]:
    """Return a function that returns the task that runs, or what identifies it; likewise without asking each time."""
    if _in_asyncio():
        return asyncio.current_task
    if (trio := _trio()) is not None:
        current_task: Callable[[], object] = trio.lowlevel.current_task
        return current_task
    return lambda: anyio.get_current_task().id


def _trio() -> ModuleType | None:
    """Return the module if a task of Trio runs."""
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_task() else None


def _in_asyncio() -> bool:
    try:
        # Trio may run as a guest in asyncio's event loop; then there is no task.
        return asyncio.current_task() is not None
    except RuntimeError:
        return False
