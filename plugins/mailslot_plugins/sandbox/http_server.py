"""Runs hypercorn on asyncio or trio, on one socket, until stopped."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import anyio
from hypercorn.config import Config, Sockets

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp, Receive, Scope, Send


class SocketConfig(Config):
    """Hypercorn's settings: an existing socket, and no log.

    Args:
        listener: a listening TCP socket; a duplicate is used, because hypercorn closes it.
        grace: seconds that pending responses may still take at shutdown.
    """

    def __init__(self, listener: socket.socket, grace: float) -> None:
        super().__init__()
        self._listener = listener
        self.errorlog = None
        self.graceful_timeout = grace

    def create_sockets(self) -> Sockets:
        """Return the socket for hypercorn."""
        return Sockets([], [self._listener.dup()], [])


async def serve_http(app: ASGIApp, settings: SocketConfig, stop: anyio.Event) -> None:
    """Serve until `stop`; shielded from cancellation, which hypercorn does not support."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        backend, waits_for_clients = import_module("hypercorn.trio"), False
    else:
        # Since Python 3.12.1 asyncio's server waits for its clients, and hypercorn waits for the server.
        backend, waits_for_clients = import_module("hypercorn.asyncio"), sys.version_info >= (3, 12, 1)
    with anyio.CancelScope(shield=True) as cancel_scope:

        async def stopped() -> None:
            await stop.wait()
            # Otherwise hypercorn ends by itself; if it is cancelled, it leaves connections open.
            if waits_for_clients:
                cancel_scope.deadline = anyio.current_time() + 2 * settings.graceful_timeout

        async def without_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
            # Hypercorn's lifespan task would log an error at that deadline.
            if scope["type"] == "lifespan":
                raise NotImplementedError
            await app(scope, receive, send)

        await backend.serve(without_lifespan, settings, shutdown_trigger=stopped)
