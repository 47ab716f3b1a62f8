"""What depends on the event loop that runs: its clock, and how it waits for octets."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from mailslot.net.waiter import AnyioWaiter, AsyncioWaiter

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

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
        return asyncio.get_running_loop().time
    if (trio := sys.modules.get("trio")) is not None and trio.lowlevel.in_trio_task():
        clock: Callable[[], float] = trio.lowlevel.current_clock().current_time
        return clock
    return anyio.current_time


def _in_asyncio() -> bool:
    try:
        # Trio may run as a guest in asyncio's event loop; then there is no task.
        return asyncio.current_task() is not None
    except RuntimeError:
        return False
