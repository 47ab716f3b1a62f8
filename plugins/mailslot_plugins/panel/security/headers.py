"""Headers of every answer: what a browser may do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC: Final = "/static/"
"""Below this there is nothing that differs from one device, or one reader, to another."""

# A form's answer may lead to this panel only: CSP's form-action holds for its redirects as well, so whatever leads to a
# provider is a link.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

ALWAYS: Final = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

TRANSPORT: Final = "max-age=31536000"
"""HSTS (RFC 6797), only where the certificate is one that browsers trust: with a self-made one, it would lock out
everybody whose browser has not been told to trust it."""


class Headers:
    """Middleware that puts them on.

    Args:
        app: what comes next.
        trusted: returns whether the certificate is one that the administrator has set.
    """

    def __init__(self, app: ASGIApp, trusted: Callable[[], bool]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def put_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(ALWAYS)
                if scope["scheme"] == "https" and self._trusted():
                    headers["strict-transport-security"] = TRANSPORT
                # After an update of the device, no page may meet the style and script of before.
                headers["cache-control"] = "no-cache" if scope["path"].startswith(STATIC) else "no-store"
            await send(message)

        await self._app(scope, receive, put_on if scope["type"] == "http" else send)
