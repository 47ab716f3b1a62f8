"""The panels of single devices, below ``/tenants/TENANT/devices/DEVICE``; they are the same as a device's own panel."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

from mailslot.errors import InputError
from mailslot.fleet.address import check_name
from mailslot_plugins.panel.fleet.context import fleet_of
from mailslot_plugins.panel.fleet.sessions import device_session, staff_of
from mailslot_plugins.panel.render import render
from mailslot_plugins.panel.token.callback import pending_sign_in
from mailslot_plugins.panel.token.sign_in_methods import CALLBACK
from mailslot_plugins.tokens.authorization import parse_parameters

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send


async def show_device(scope: Scope, receive: Receive, send: Send) -> None:
    """Handle a request for a page of a device. The person's permission was checked before."""
    request = Request(scope, receive)
    names = request.path_params
    try:
        tenant, device = check_name(names["tenant"]), check_name(names["device"])
    except InputError:
        raise HTTPException(404) from None
    async with fleet_of(request).panels.lend(tenant, device) as opened:
        if opened is None:
            raise HTTPException(404)
        staff = staff_of(request.state.session)
        state = {
            **scope["state"],
            "session": device_session(request.state.session, opened.id),
            "may_change": staff is not None and staff.may_change(tenant),
        }
        await opened.application({**scope, "state": state}, receive, send)


async def receive_redirect(request: Request) -> Response:
    """Pass the response of a mailbox's provider on to the device for which somebody has signed in.

    All devices have one redirect URI, since a provider knows every redirect URI of an application.
    """
    parameters = parse_parameters(request.url.query) or {}
    for opened in fleet_of(request).panels.all():
        sign_in = pending_sign_in(opened.device, opened.tasks, parameters)
        if sign_in is None:
            continue
        if staff_of(request.state.session) is not None:
            return RedirectResponse(f"{opened.root}{CALLBACK}?{request.url.query}", 303)
        begun_at = urlsplit(sign_in.origin)
        if begun_at.scheme == "http" and begun_at.netloc != request.url.netloc:
            # On loopback, the redirect URI may have another host name than the browser used, and cookies depend on it.
            return RedirectResponse(f"{sign_in.origin}{CALLBACK}?{request.url.query}", 303)
    return render(request, "token/not_awaited.html", 400)


routes = [
    Route(CALLBACK, receive_redirect),
    Mount("/tenants/{tenant}/devices/{device}", show_device),
]
