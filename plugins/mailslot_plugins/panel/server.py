"""Answers on a socket until cancelled, on asyncio and trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from mailslot_plugins.web.server import OneSocket, answer

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp

_GRACE: Final = 1.0
"""Seconds that answers which are under way may still take."""


async def serve(application: ASGIApp, listener: socket.socket) -> None:
    """Answer until cancelled.

    Args:
        application: what answers.
        listener: a TCP socket that listens.
    """
    settings = OneSocket(listener, _GRACE)
    settings.include_server_header = False
    # Bounds for strangers.
    settings.keep_alive_timeout = 15.0
    settings.h11_max_incomplete_size = 16_384
    stop = anyio.Event()
    failure: Exception | None = None

    async def until_stopped() -> None:
        nonlocal failure
        try:
            await answer(application, settings, stop)
        except Exception as error:  # noqa: BLE001 - raised again below, outside of the task group
            failure = error
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(until_stopped)
        try:
            await anyio.sleep_forever()
        finally:
            stop.set()
    if failure is not None:
        raise failure
