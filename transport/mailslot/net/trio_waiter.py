"""Waiting for octets on Trio; a module of its own, since Trio need not be installed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import trio

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable


class TrioWaiter:
    """Waits in the event loop of Trio; see `mailslot.net.waiter.Waiter`.

    A cancel scope for each wait would cost as much as the wait. Instead a system task sleeps until the deadline of one
    wait; if a later deadline holds by then, it sleeps on.
    """

    ended_by: ClassVar[type[Exception]] = trio.ClosedResourceError

    def __init__(self, connected: socket.socket) -> None:
        self._file = connected.fileno()
        self._deadline = self._timer_end = math.inf
        self._timer: trio.CancelScope | None = None

    def wait(self, deadline: float) -> Awaitable[None]:
        """Wait for octets."""
        self._deadline = deadline
        if deadline < self._timer_end:
            self._set_timer(deadline)
        return trio.lowlevel.wait_readable(self._file)  # noqa: ASYNC105 - the caller awaits it

    def _set_timer(self, end: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_end = trio.CancelScope(), end
        trio.lowlevel.spawn_system_task(self._run_timer, self._timer)

    async def _run_timer(self, timer: trio.CancelScope) -> None:
        with timer:
            await trio.sleep_until(self._timer_end)
            while trio.current_time() < self._deadline:
                self._timer_end = self._deadline
                await trio.sleep_until(self._timer_end)
            if timer.cancel_called:
                return  # the socket may be closed by now, and another have its number
            self._timer, self._timer_end = None, math.inf
            # This ends every wait for the socket, one that is for writing as well; that one begins again.
            trio.lowlevel.notify_closing(self._file)

    def close(self) -> None:
        """Leave the socket alone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        trio.lowlevel.notify_closing(self._file)
