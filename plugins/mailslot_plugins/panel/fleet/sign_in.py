"""``/sign-in`` and ``/sign-out`` for staff: the redirects to the OpenID provider and back."""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from starlette.responses import RedirectResponse
from starlette.routing import Route

from mailslot.errors import MailError
from mailslot_plugins.panel.fleet.context import fleet_of
from mailslot_plugins.panel.fleet.security import SIGN_IN, SIGNED_IN, START
from mailslot_plugins.panel.fleet.sessions import id_token_of, staff_of
from mailslot_plugins.panel.fleet.staff import is_unverified, staff_of_claims
from mailslot_plugins.panel.render import redirect, render, text
from mailslot_plugins.panel.security.addresses import client_address, client_network
from mailslot_plugins.panel.security.paths import safe_path
from mailslot_plugins.panel.security.session import Notice
from mailslot_plugins.panel.security.throttle import ThrottledError
from mailslot_plugins.panel.sentences import translated
from mailslot_plugins.tokens.authorization import parse_parameters

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot_plugins.panel.fleet.staff import Staff

_LONGEST_PATH: Final = 2000

logger = logging.getLogger(__name__)


async def show(request: Request) -> Response:
    """Return the page with the link to the provider; redirect if already signed in.

    The provider also leads here after a sign-out.
    """
    next_path = _next_path(request)
    session = request.state.session
    if session.signed_in:
        return redirect(request, next_path)
    state = request.query_params.get("state", "").encode()
    if hmac.compare_digest(state, fleet_of(request).states.sign_out(request.state.visit.id).encode()):
        session.notices.append(Notice("done", text(request, "sign_in", "signed_out")))
    return _page(request, next_path=next_path, ended="ended" in request.query_params)


async def start(request: Request) -> Response:
    """Redirect to the provider."""
    fleet = fleet_of(request)
    next_path = _next_path(request)
    if request.url.netloc != urlsplit(fleet.settings.address).netloc:
        # The provider redirects to the address in the settings, and cookies depend on the host name.
        return RedirectResponse(f"{fleet.settings.address}{START}?next={quote(next_path)}", 303)
    begun = fleet.states.begin(request.state.visit.id, next_path)
    try:
        return RedirectResponse(await fleet.provider.address(begun), 303)
    except MailError as error:
        return _failed(request, error, next_path)


async def finish(request: Request) -> Response:
    """Accept the provider's response, and redirect to the page that was requested."""
    fleet = fleet_of(request)
    parameters = parse_parameters(request.url.query) or {}
    begun = fleet.states.find(request.state.visit.id, parameters.get("state", ""))
    if begun is None:
        if request.state.session.signed_in:  # the page was loaded again
            return redirect(request, "/")
        return _page(request, 400, error=text(request, "fleet", "not_begun"))
    try:
        claims, id_token = await fleet.provider.identify(begun, parameters)
    except MailError as error:
        address = client_network(client_address(request.scope))
        try:
            async with fleet.failures.turn(address, request.state.visit.id):
                fleet.failures.count(address, request.state.visit.id, right=False)
        except ThrottledError as wait:
            answer = _page(request, 429, error=text(request, "fleet", "wait", seconds=wait.seconds))
            answer.headers["retry-after"] = str(wait.seconds)
            return answer
        return _failed(request, error, begun.next_path)
    openid = fleet.settings.openid
    staff = staff_of_claims(claims, openid.claim, openid.rules)
    if staff is None:
        logger.warning("Somebody without a role has signed in", extra={"staff": str(claims["sub"])[:200]})
        why = "unverified" if is_unverified(claims, openid.claim) else "no_role"
        return _page(request, 403, error=text(request, "fleet", why, issuer=_issuer(request)))
    await fleet.security.sign_in(request, staff, id_token)
    logger.info("%s has signed in, %s", staff.name, _rights(staff), extra={"staff": staff.subject})
    return redirect(request, safe_path(begun.next_path))


async def sign_out(request: Request) -> Response:
    """Sign out here, and redirect the browser to the provider to sign out there, too."""
    fleet = fleet_of(request)
    staff, id_token = staff_of(request.state.session), id_token_of(request.state.session)
    await fleet.security.sign_out(request)
    if staff is not None:
        logger.info("%s has signed out", staff.name, extra={"staff": staff.subject})
    issuer = _issuer(request)
    address = await fleet.provider.sign_out_address(id_token, fleet.states.sign_out(request.state.visit.id))
    if address is None:
        return redirect(request, SIGN_IN, notice=text(request, "fleet", "still_at_provider", issuer=issuer))
    return render(request, "fleet/sign_out.html", address=address, issuer=issuer)


def _failed(request: Request, error: MailError, next_path: str) -> Response:
    logger.warning("A sign-in has failed: %s", error, extra={"cause": error.cause, "detail": error.detail})
    sentence = translated(str(error), request.state.language)
    return _page(request, 502, next_path=next_path, error=sentence)


def _page(request: Request, status: int = 200, **context: Any) -> Response:  # noqa: ANN401 - the template's variables
    shown = {"next_path": "/", "ended": False, "error": "", **context}
    return render(request, "fleet/sign_in.html", status, issuer=_issuer(request), **shown)


def _next_path(request: Request) -> str:
    """Return the page to show after the sign-in; it goes to the provider and back in an address."""
    path = safe_path(request.query_params.get("next", "/"))
    return path if len(path) <= _LONGEST_PATH else "/"


def _issuer(request: Request) -> str:
    return urlsplit(fleet_of(request).settings.openid.issuer).netloc


def _rights(staff: Staff) -> str:
    def named(tenants: frozenset[str] | None) -> str:
        return "everything" if tenants is None else ", ".join(sorted(tenants)) or "nothing"

    return f"and may see {named(staff.sees)}, and change {named(staff.changes)}"


routes = [
    Route(SIGN_IN, show),
    Route(START, start),
    Route(SIGNED_IN, finish),
    Route("/sign-out", sign_out, methods=["POST"]),
]
