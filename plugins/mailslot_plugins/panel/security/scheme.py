"""The scheme that browsers use, which differs from the connection's if a proxy in front of the pages does TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class HttpsInBrowsers:
    """Middleware that marks requests as https, for pages whose address is known to be https.

    Args:
        app: the next application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        await self._app({**scope, "scheme": "https"} if scope["type"] == "http" else scope, receive, send)
