"""Hypercorn on asyncio and trio: answers on one socket until it is told to stop."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

import anyio
from hypercorn.config import Config, Sockets

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp, Receive, Scope, Send


class SocketConfig(Config):
    """Hypercorn's settings: a socket that is there already, and no log of its own.

    Args:
        listener: a TCP socket that listens; a copy of it is used, since hypercorn closes what it is given.
        grace: seconds that answers which are under way may still take.
    """

    def __init__(self, listener: socket.socket, grace: float) -> None:
        super().__init__()
        self._listener = listener
        self.errorlog = None
        self.graceful_timeout = grace

    def create_sockets(self) -> Sockets:
        """Give hypercorn the socket."""
        return Sockets([], [self._listener.dup()], [])


async def answer(application: ASGIApp, settings: SocketConfig, stop: anyio.Event) -> None:
    """Answer until `stop`; a cancellation waits for that, since hypercorn bears none.

    Args:
        application: what answers.
        settings: where, and how.
        stop: set to end it.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        backend = import_module("hypercorn.trio")
    else:
        backend = import_module("hypercorn.asyncio")
    with anyio.CancelScope(shield=True) as cancel:

        async def stopped() -> None:
            await stop.wait()
            # From Python 3.12.1 on, asyncio's server waits for its clients, and hypercorn for that.
            cancel.deadline = anyio.current_time() + 2 * settings.graceful_timeout

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            # The task that hypercorn keeps for a lifespan would not survive that deadline in silence.
            if scope["type"] == "lifespan":
                raise NotImplementedError
            await application(scope, receive, send)

        await backend.serve(app, settings, shutdown_trigger=stopped)
