"""The application: the device's state for a monitoring system, and nothing else yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mailslot.errors import MailError
from mailslot.service.metrics import CONTENT_TYPE, metrics
from mailslot_plugins.panel.server import serve

if TYPE_CHECKING:
    import socket

    from starlette.requests import Request

    from mailslot.service.device import Device

_LONGEST = 5.0
"""Seconds within which a device that is well answers."""


class Panel(Starlette):
    """The application, which also knows how to answer on a socket: `mailslot.service.panel.Panel`."""

    async def serve(self, listener: socket.socket) -> None:
        """Answer until cancelled.

        Args:
            listener: a TCP socket that listens; it stays open for another call.
        """
        await serve(self, listener)


def app_for(device: Device) -> Panel:
    """Return the application of a device: ``GET /metrics`` and ``GET /healthz``."""
    one_at_a_time = anyio.Lock()

    async def show_metrics(_request: Request) -> Response:
        async with one_at_a_time:
            try:
                return Response(await metrics(device), media_type=CONTENT_TYPE)
            except MailError as error:
                return Response(f"# {error}\n", status_code=503, media_type=CONTENT_TYPE)

    async def show_health(_request: Request) -> Response:
        try:
            with anyio.fail_after(_LONGEST):
                await device.spool.counts()
        except (MailError, TimeoutError) as error:
            said = str(error) or f"The spool has not answered within {_LONGEST:g} seconds."
            return JSONResponse({"status": "failing", "message": said}, status_code=503)
        return JSONResponse({"status": "ok"})

    return Panel(routes=[Route("/metrics", show_metrics), Route("/healthz", show_health)])
