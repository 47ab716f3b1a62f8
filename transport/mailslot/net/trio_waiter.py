"""Waiting for octets on Trio; a module of its own, since Trio need not be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from mailslot.net.waiter import closed_error

if TYPE_CHECKING:
    import socket


class TrioWaiter:
    """Waits in the event loop of Trio; see `mailslot.net.waiter.Waiter`."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    async def wait(self, deadline: float) -> None:
        """Wait for octets."""
        scope = trio.CancelScope(deadline=deadline)
        try:
            with scope:
                await trio.lowlevel.wait_readable(self._socket)
        except trio.ClosedResourceError as error:
            raise closed_error() from error
        if scope.cancelled_caught:
            raise TimeoutError

    def close(self) -> None:
        """Leave the socket alone."""
        trio.lowlevel.notify_closing(self._socket)
