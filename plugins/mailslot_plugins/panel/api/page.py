"""``/api/``: what can be asked of the device by programs, as a page for people, and all that can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync
from starlette.responses import JSONResponse
from starlette.routing import Route

from mailslot_plugins.panel.api.document import GROUPS, openapi
from mailslot_plugins.panel.api.operation import BASE, routes_of
from mailslot_plugins.panel.render import render

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_DOCUMENT: Final = f"{BASE}/openapi.json"


async def show(request: Request) -> Response:
    """Answer with the page."""
    document = await run_sync(openapi)
    groups: dict[str, list[dict[str, Any]]] = {tag: [] for tag in GROUPS}
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


async def show_document(_: Request) -> Response:
    """Answer with the document."""
    return JSONResponse(await run_sync(openapi))


routes = [
    Route(f"{BASE}/", show),
    Route(_DOCUMENT, show_document),
    *routes_of(each for operations in GROUPS.values() for each in operations),
]
