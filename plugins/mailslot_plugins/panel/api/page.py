"""``/api/``: the documentation of the API as a page, and as an OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync
from starlette.responses import JSONResponse
from starlette.routing import Route

from mailslot_plugins.panel.api.openapi import openapi
from mailslot_plugins.panel.api.operation import BASE
from mailslot_plugins.panel.render import render

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_DOCUMENT: Final = f"{BASE}/openapi.json"


async def show(request: Request) -> Response:
    """Return the page."""
    document = await run_sync(openapi, request.app.state.api_groups)
    groups: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups[operation["tags"][0]].append({"method": method.upper(), "path": path, **operation})
    return render(
        request,
        "api/api.html",
        groups=groups,
        address=f"{request.url.scheme}://{request.url.netloc}",
        document=_DOCUMENT,
    )


async def show_document(request: Request) -> Response:
    """Return the OpenAPI document."""
    return JSONResponse(await run_sync(openapi, request.app.state.api_groups))


routes = [Route(f"{BASE}/", show), Route(_DOCUMENT, show_document)]
