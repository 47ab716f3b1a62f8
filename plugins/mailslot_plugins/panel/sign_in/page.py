"""``/sign-in`` and ``/sign-out``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from mailslot.wire.secret import Secret
from mailslot_plugins.panel.render import redirect, render, text
from mailslot_plugins.panel.security.paths import FIRST_START, SIGN_IN, safe_path
from mailslot_plugins.panel.security.throttle import ThrottledError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot_plugins.panel.security.security import Security


async def show(request: Request) -> Response:
    """Return the form; redirect if already signed in."""
    security: Security = request.state.security
    if not await security.is_claimed():
        return redirect(request, FIRST_START)
    next_path = safe_path(request.query_params.get("next", "/"))
    if request.state.session.signed_in:
        return redirect(request, next_path)
    return render(request, "sign_in/sign_in.html", next_path=next_path, error="", ended="ended" in request.query_params)


async def sign_in(request: Request) -> Response:
    """Sign in, and redirect to the page that was requested."""
    security: Security = request.state.security
    if not await security.is_claimed():
        return redirect(request, FIRST_START)
    form = request.state.form
    next_path = safe_path(str(form.get("next", "/")))
    try:
        right = await security.try_password(request, Secret(str(form.get("password", ""))))
        if right and await security.sign_in(request):
            return redirect(request, next_path)
    except ThrottledError as wait:
        error = text(request, "sign_in", "wait", seconds=wait.seconds)
        answer = render(request, "sign_in/sign_in.html", status=429, next_path=next_path, error=error, ended=False)
        answer.headers["retry-after"] = str(wait.seconds)
        return answer
    error = text(request, "sign_in", "wrong")
    return render(request, "sign_in/sign_in.html", status=422, next_path=next_path, error=error, ended=False)


async def sign_out(request: Request) -> Response:
    """Sign out."""
    request.state.security.sign_out(request)
    return redirect(request, SIGN_IN, notice=text(request, "sign_in", "signed_out"))


routes = [
    Route(SIGN_IN, show),
    Route(SIGN_IN, sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
]
