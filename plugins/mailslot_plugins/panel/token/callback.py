"""The redirect URI: the provider sends the browser back to the panel with the authorization response.

A response is valid for the session and the slot that requested it, once, for a limited time, and only from the provider
that was asked (RFC 9700 sections 2.1 and 4.4). Anything else changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from starlette.responses import RedirectResponse
from starlette.routing import Route

from mailslot_plugins.panel.background import tasks_of
from mailslot_plugins.panel.render import device_of, redirect, render
from mailslot_plugins.panel.token.retrieval import task_key
from mailslot_plugins.panel.token.sign_in import SignIn
from mailslot_plugins.panel.token.sign_in_methods import CALLBACK
from mailslot_plugins.tokens.authorization import parse_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mailslot.service.device import Device
    from mailslot_plugins.panel.background import BackgroundTasks

_RESPONSE: Final = frozenset({"code", "error"})


class LoopbackRedirects:
    """Middleware that routes a response at ``/`` to `CALLBACK`: on loopback, redirect URIs have no path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http" and scope["path"] == "/" and scope["query_string"]:
            names = {name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)}
            if "state" in names and names & _RESPONSE:
                scope = {**scope, "path": CALLBACK}
        await self._app(scope, receive, send)


async def receive_redirect(request: Request) -> Response:
    """Accept an authorization response, and redirect to the page of the slot's token."""
    parameters = parse_parameters(request.url.query) or {}
    sign_in = pending_sign_in(device_of(request), tasks_of(request.app.state), parameters)
    if sign_in is not None and sign_in.pending is not None:
        if sign_in.is_of(request.state.session) and sign_in.pending.accept(parameters):
            sign_in.mark_fetching()
            return redirect(request, f"/slots/{sign_in.slot.id}/token")
        begun_at = urlsplit(sign_in.origin)
        if begun_at.scheme == "http" and begun_at.netloc != request.url.netloc:
            # On loopback, the redirect URI may have another host name than the browser used, and cookies depend on the
            # name. So the browser is redirected to the name with its session, which is checked there.
            return RedirectResponse(f"{sign_in.origin}{CALLBACK}?{request.url.query}", 303)
    return render(request, "token/not_awaited.html", 400)


def pending_sign_in(device: Device, tasks: BackgroundTasks, parameters: Mapping[str, str]) -> SignIn | None:
    """Return the sign-in at a device that waits for an authorization response; None if none waits for this one."""
    for record in device.slots.protocols:
        task = tasks.find(task_key(record), SignIn)
        if task is not None and task.running:
            pending = task.subject.pending
            if pending is not None and pending.attempt.matches(parameters):
                return task.subject
    return None


routes = [Route(CALLBACK, receive_redirect)]
