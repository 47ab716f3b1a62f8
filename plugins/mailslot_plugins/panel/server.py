"""Answers on a socket until cancelled, on asyncio and trio."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Final

import anyio
from hypercorn.config import Config, Sockets

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp, Receive, Scope, Send

_GRACE: Final = 1.0
"""Seconds that answers which are under way may still take."""


class _Settings(Config):
    """Hypercorn's: one socket, no log of its own, and bounds for strangers."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__()
        self._listener = listener
        self.errorlog = None
        self.include_server_header = False
        self.graceful_timeout = _GRACE
        self.keep_alive_timeout = 15.0
        self.h11_max_incomplete_size = 16_384

    def create_sockets(self) -> Sockets:
        # A copy, since hypercorn closes what it is given, and may be started again.
        return Sockets([], [self._listener.dup()], [])


async def serve(application: ASGIApp, listener: socket.socket) -> None:
    """Answer until cancelled.

    Args:
        application: what answers.
        listener: a TCP socket that listens.
    """
    stop = anyio.Event()
    failure: Exception | None = None

    async def answer() -> None:
        nonlocal failure
        try:
            await _answer(application, listener, stop)
        except Exception as error:  # noqa: BLE001 - raised again below, outside of the task group
            failure = error
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(answer)
        try:
            await anyio.sleep_forever()
        finally:
            stop.set()
    if failure is not None:
        raise failure


async def _answer(application: ASGIApp, listener: socket.socket, stop: anyio.Event) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        backend = import_module("hypercorn.trio")
    else:
        backend = import_module("hypercorn.asyncio")

    # Hypercorn bears no cancellation; it ends when it is told to.
    with anyio.CancelScope(shield=True) as cancel:

        async def stopped() -> None:
            await stop.wait()
            # From Python 3.12.1 on, asyncio's server waits for its clients, and hypercorn for that.
            cancel.deadline = anyio.current_time() + 2 * _GRACE

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            # The task that hypercorn keeps for a lifespan would not survive that deadline in silence.
            if scope["type"] == "lifespan":
                raise NotImplementedError
            await application(scope, receive, send)

        await backend.serve(app, _Settings(listener), shutdown_trigger=stopped)
