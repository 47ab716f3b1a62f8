"""``/sign-in`` and ``/sign-out``: the administrator comes and goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from mailslot.wire.secret import Secret
from mailslot_plugins.panel.render import redirect, render, text
from mailslot_plugins.panel.security.paths import FIRST_START, SIGN_IN, safe_path
from mailslot_plugins.panel.security.throttle import WaitError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot_plugins.panel.security.security import Security


async def show(request: Request) -> Response:
    """Answer with the form; who has signed in goes on."""
    security: Security = request.state.security
    if not await security.is_claimed():
        return redirect(request, FIRST_START)
    onward = safe_path(request.query_params.get("next", "/"))
    if request.state.session.signed_in:
        return redirect(request, onward)
    return render(request, "sign_in/sign_in.html", onward=onward, error="", ended="ended" in request.query_params)


async def sign_in(request: Request) -> Response:
    """Sign in, and go on to where the browser was headed."""
    security: Security = request.state.security
    if not await security.is_claimed():
        return redirect(request, FIRST_START)
    form = request.state.form
    onward = safe_path(str(form.get("next", "/")))
    try:
        if await security.try_password(request, Secret(str(form.get("password", "")))):
            security.sign_in(request)
            return redirect(request, onward)
    except WaitError as wait:
        error = text(request, "sign_in", "wait", seconds=wait.seconds)
        answer = render(request, "sign_in/sign_in.html", status=429, onward=onward, error=error, ended=False)
        answer.headers["retry-after"] = str(wait.seconds)
        return answer
    error = text(request, "sign_in", "wrong")
    return render(request, "sign_in/sign_in.html", status=422, onward=onward, error=error, ended=False)


async def sign_out(request: Request) -> Response:
    """Sign out, and say so."""
    request.state.security.sign_out(request)
    return redirect(request, SIGN_IN, notice=text(request, "sign_in", "signed_out"))


routes = [
    Route(SIGN_IN, show),
    Route(SIGN_IN, sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
]
