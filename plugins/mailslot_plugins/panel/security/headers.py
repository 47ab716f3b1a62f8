"""The security headers of every response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC: Final = "/static/"
"""The path of static files, which are the same on every device and for every user."""

# CSP's form-action also applies to redirects of a form, so pages use links, not forms, to lead to a provider.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

HEADERS: Final = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

HSTS: Final = "max-age=31536000"
"""HSTS (RFC 6797), only for the administrator's own certificate: with a self-signed one, it would lock out every
browser that does not trust it yet."""


class SecurityHeaders:
    """Middleware that adds the headers.

    Args:
        app: the next application.
        trusted: returns whether the certificate was set by the administrator.
    """

    def __init__(self, app: ASGIApp, trusted: Callable[[], bool]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    # A page may have a stricter policy.
                    headers.setdefault(name, value)
                if scope["scheme"] == "https" and self._trusted():
                    headers["strict-transport-security"] = HSTS
                # After an update, no page may use the old style sheet and script.
                headers["cache-control"] = "no-cache" if scope["path"].startswith(STATIC) else "no-store"
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)
