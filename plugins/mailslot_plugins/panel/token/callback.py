"""The end of a sign-in in this browser: a provider sends it back to the panel, with the answer in the address.

An answer counts for the browser session that asked, for the slot it asked for, once and for a while, and only if the
provider that was asked gave it (RFC 9700 sections 2.1 and 4.4). Anything else changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from starlette.responses import RedirectResponse
from starlette.routing import Route

from mailslot.slots.slot import PROTOCOLS
from mailslot_plugins.panel.render import redirect, render
from mailslot_plugins.panel.token.retrieval import key_of
from mailslot_plugins.panel.token.sign_in import SignIn
from mailslot_plugins.panel.token.sign_in_methods import CALLBACK
from mailslot_plugins.tokens.authorization import parse_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mailslot_plugins.panel.background import BackgroundTasks
    from mailslot_plugins.panel.token.authorization import Question

_ANSWER: Final = frozenset({"code", "error"})


class Answers:
    """Middleware that takes an answer to ``/`` for one to `CALLBACK`: on loopback, redirects bear no path.

    Args:
        app: what comes next.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and scope["path"] == "/" and scope["query_string"]:
            names = {name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)}
            if "state" in names and names & _ANSWER:
                scope = {**scope, "path": CALLBACK}
        await self._app(scope, receive, send)


async def take(request: Request) -> Response:
    """Take the answer to a sign-in, and go back to where it was begun."""
    parameters = parse_parameters(request.url.query) or {}
    for sign_in, question in _awaited(request):
        if not question.attempt.matches(parameters):
            continue
        if sign_in.is_of(request.state.session) and question.takes(parameters):
            sign_in.go_on()
            return redirect(request, f"/slots/{sign_in.slot.id}/token")
        begun_at = urlsplit(sign_in.origin)
        if begun_at.scheme == "http" and begun_at.netloc != request.url.netloc:
            # On loopback, the provider may know another name for this machine than the browser used, and cookies go by
            # names. It is sent on to where its session is, and has to show it there.
            return RedirectResponse(f"{sign_in.origin}{CALLBACK}?{request.url.query}", 303)
    return render(request, "token/not_awaited.html", 400)


def _awaited(request: Request) -> Iterator[tuple[SignIn, Question]]:
    work: BackgroundTasks = request.app.state.work
    for record in PROTOCOLS:
        piece = work.find(key_of(record), SignIn)
        if piece is not None and piece.running and piece.about.question is not None:
            yield piece.about, piece.about.question


routes = [Route(CALLBACK, take)]
