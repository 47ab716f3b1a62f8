"""``GET /metrics`` and ``GET /healthz``: the state of the device for a monitoring system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mailslot.errors import MailError
from mailslot.service.metric_family import CONTENT_TYPE
from mailslot.service.metrics import metrics

if TYPE_CHECKING:
    from starlette.requests import Request

_TIMEOUT: Final = 5.0
"""Seconds within which a healthy device responds."""


async def show_metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    try:
        return Response(await metrics(request.app.state.device), media_type=CONTENT_TYPE)
    except MailError as error:
        return Response(f"# {error}\n", status_code=503, media_type=CONTENT_TYPE)


async def show_health(request: Request) -> Response:
    """Return whether the spool responds."""
    try:
        with anyio.fail_after(_TIMEOUT):
            await request.app.state.device.spool.count_by_state()
    except (MailError, TimeoutError) as error:
        sentence = str(error) or f"The spool has not answered within {_TIMEOUT:g} seconds."
        return JSONResponse({"status": "failing", "message": sentence}, status_code=503)
    return JSONResponse({"status": "ok"})


routes = [Route("/metrics", show_metrics), Route("/healthz", show_health)]
