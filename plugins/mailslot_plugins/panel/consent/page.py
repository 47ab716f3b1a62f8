"""``/consent/…``: the page of a link, the redirects to the provider and back, and the response of an administrator.

All of them are GET and need no sign-in here: the owner signs in at the provider. Opening a page does not use the link
up, since programs that scan mails open links, too. A sign-in is bound to the browser that began it.
"""

from __future__ import annotations

import logging
import re
import secrets
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync
from starlette.responses import RedirectResponse
from starlette.routing import Route

from mailslot.errors import InputError, MailError
from mailslot.fleet.consent import ADMIN_PATH, CALLBACK_PATH, PREFIX
from mailslot.oauth.admin_consent import parse_answer
from mailslot_plugins.panel.consent.begin import begin, open_pending
from mailslot_plugins.panel.consent.deliver import OtherUserError, deliver
from mailslot_plugins.panel.consent.fleet import fleet_of
from mailslot_plugins.panel.consent.view import error_page, guarded, link_facts, render_page
from mailslot_plugins.panel.cookies import cookie
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.tokens.authorization import SIGN_IN_TIMEOUT, parse_parameters

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.fleet.postgres.sign_in_links import BegunSignIn

_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits in base64url
_COOKIE: Final = "mailslot-consent"

logger = logging.getLogger(__name__)


async def show_link(request: Request) -> Response:
    """Show the purpose of a link, or its result."""
    fleet, token = fleet_of(request), request.path_params["token"]
    found = await run_sync(fleet.links.find, token) if _SECRET.fullmatch(token) else None
    if found is None:
        return error_page(request, "unknown", 404)
    device, link = found
    if link.state in {"expired", "withdrawn"}:
        return error_page(request, link.state, 410)
    facts = await run_sync(link_facts, fleet, device, link, request.state.language)
    return render_page(
        request, "consent/link.html", link=link, device=device, start=f"{request.url.path}/start", **facts
    )


async def start(request: Request) -> Response:
    """Redirect the browser to the provider."""
    fleet, token = fleet_of(request), request.path_params["token"]
    found = await run_sync(fleet.links.find, token) if _SECRET.fullmatch(token) else None
    if found is None or (record := found[1].next_record) is None or found[1].state != "open":
        return RedirectResponse(f"{PREFIX}/link/{token}" if found else PREFIX, 303)
    device, link = found
    base = await run_sync(fleet.consents.address)
    if base is None:
        raise InputError("The address of these pages is not set: mailslot fleet sign-in --address", stage="token")
    browser = cookie(request, _cookie_name(request))
    if not _SECRET.fullmatch(browser):
        browser = secrets.token_urlsafe(32)
    address = await begin(
        fleet, device, link, record, token=token, browser=browser, redirect_uri=f"{base}{CALLBACK_PATH}"
    )
    response = RedirectResponse(address, 303)
    response.set_cookie(
        _cookie_name(request),
        browser,
        max_age=int(SIGN_IN_TIMEOUT),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        # The provider redirects the browser back from another site.
        samesite="lax",
    )
    return response


async def receive(request: Request) -> Response:
    """Receive the authorization response."""
    fleet = fleet_of(request)
    answer = parse_parameters(request.url.query) or {}
    state, browser = answer.get("state", ""), cookie(request, _cookie_name(request))
    begun = await run_sync(fleet.links.take, state, browser) if _SECRET.fullmatch(state) else None
    if begun is None:
        return error_page(request, "not_awaited", 400)
    home = fleet.homes.open(begun.device)
    pending = await run_sync(open_pending, home, begun.record, begun.sealed)
    extra = {"tenant": begun.device.tenant_name, "device": begun.device.name, "record": begun.record}
    page = f"{PREFIX}/link/{pending.link}"
    try:
        await deliver(fleet, begun, pending, answer)
    except MailError as error:
        logger.warning("A sign-in by a link has failed: %s", error, extra={**extra, "cause": error.cause})
        await run_sync(_note_failure, request, begun, error)
        return RedirectResponse(page, 303)
    logger.info("A token was obtained by a link", extra=extra)
    found = await run_sync(fleet.links.find, pending.link)
    # The owner has signed in at the provider already, so the next record needs no further click.
    go_on = found is not None and found[1].state == "open"
    return RedirectResponse(f"{page}/start" if go_on else page, 303)


async def receive_admin_answer(request: Request) -> Response:
    """Receive the response to an administrator's consent, and show it in one sentence."""
    fleet = fleet_of(request)
    try:
        answer = parse_answer(str(request.url.query))
    except InputError:
        return error_page(request, "not_awaited", 400)
    known = await run_sync(fleet.consents.note_answer, answer) if answer.state else None
    if known is None:
        return error_page(request, "not_awaited", 400)
    extra = {"tenant": known.tenant, "provider": known.provider, "cause": known.cause}
    logger.info("An administrator has answered: %s", "consent" if known.granted else "no consent", extra=extra)
    explanation = None
    if answer.error is not None:
        explanation = explanation_of(answer.error.cause, request.state.language, sentence=str(answer.error))
    return render_page(request, "consent/admin.html", consent=known, explanation=explanation)


def _note_failure(request: Request, begun: BegunSignIn, error: MailError) -> None:
    signed_in = error.signed_in if isinstance(error, OtherUserError) else None
    fleet_of(request).links.note_failure(
        begun.device, begun.link, cause=error.cause, sentence=str(error), signed_in=signed_in
    )


def _cookie_name(request: Request) -> str:
    # The prefix prevents other hosts of the domain from setting one.
    return f"__Host-{_COOKIE}" if request.url.scheme == "https" else _COOKIE


routes = [
    Route(CALLBACK_PATH, guarded(receive)),
    Route(ADMIN_PATH, guarded(receive_admin_answer)),
    Route(f"{PREFIX}/link/{{token}}", guarded(show_link)),
    Route(f"{PREFIX}/link/{{token}}/start", guarded(start)),
]
"""The pages, for any application whose ``state.consent`` is a `ConsentFleet`."""
