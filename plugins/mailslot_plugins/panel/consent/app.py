"""The pages as an application of their own, served by ``mailslot fleet sign-in``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from mailslot_plugins.panel.connections import Connections
from mailslot_plugins.panel.consent.fleet import ConsentFleet
from mailslot_plugins.panel.consent.page import routes
from mailslot_plugins.panel.consent.view import error_page
from mailslot_plugins.panel.security import limits
from mailslot_plugins.panel.security.addresses import ascii_name, is_own_host
from mailslot_plugins.panel.security.headers import SecurityHeaders
from mailslot_plugins.panel.security.scheme import HttpsInBrowsers
from mailslot_plugins.panel.translations import LanguageMiddleware, translate

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Collection

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mailslot.fleet.homes import FleetHomes

_METHODS: Final = frozenset({"GET", "HEAD"})


class PublicGuard:
    """Middleware that refuses requests that are malformed, for another host, or anything but GET.

    Args:
        app: the next application.
        names: the host names of the pages.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        refusal = self._refusal(request)
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        hosts = request.headers.getlist("host")
        status, key = 0, ""
        if limits.head_size(request.scope) > limits.MAX_HEAD:
            status, key = 431, "too_large"
        elif len(hosts) != 1 or not is_own_host(hosts[0], self._names):
            status, key = 421, "host"
        elif request.method not in _METHODS:
            status, key = 405, "method"
        if not status:
            return None
        return PlainTextResponse(translate("security", key, request.state.language), status, {"connection": "close"})


def application(homes: FleetHomes, address: str) -> Starlette:
    """Return the pages as an ASGI application.

    Args:
        homes: the homes of the fleet.
        address: the address of the pages in browsers; https, or http on a loopback address.
    """
    names = (ascii_name(urlsplit(address).hostname or ""),)
    static = StaticFiles(packages=[("mailslot_plugins.panel", "static")])
    app = Starlette(
        routes=[*routes, Mount("/static", static, name="static")],
        middleware=[
            Middleware(LanguageMiddleware, otherwise=lambda: "en"),
            Middleware(SecurityHeaders, trusted=lambda: True),
            *([Middleware(HttpsInBrowsers)] if address.startswith("https:") else []),
            Middleware(PublicGuard, names=names),
        ],
        exception_handlers={HTTPException: _show_http_error},
    )
    app.state.consent = ConsentFleet(homes)
    return app


async def serve(homes: FleetHomes, address: str, listener: socket.socket, context: ssl.SSLContext | None) -> None:
    """Serve the pages until cancelled; implements `mailslot.fleet.pages.FleetPages`."""
    await Connections(application(homes, address), listener, context).run()


async def _show_http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return error_page(request, "unknown" if status == 404 else "trouble_other", status)
