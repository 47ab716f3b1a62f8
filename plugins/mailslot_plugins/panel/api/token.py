"""``/api/slots/{slot}/token``: a slot's token, getting one by a code or by the application itself, deleting it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.to_thread import run_sync
from starlette.responses import Response

from mailslot.errors import InputError
from mailslot.service.json_documents import token_rows
from mailslot.slots.flows import APP_FLOWS, find_flow, flow_name, provider_of
from mailslot.slots.oauth_client import client_for_flow
from mailslot.timestamps import iso
from mailslot_plugins.panel.api.operation import Gives, Operation, answer
from mailslot_plugins.panel.api.places import slot_in
from mailslot_plugins.panel.api.schema import entry, one_of, ref
from mailslot_plugins.panel.problem import NotDoneError, problem_document
from mailslot_plugins.panel.token.deletion import start_deletion
from mailslot_plugins.panel.token.retrieval import start_sign_in
from mailslot_plugins.panel.token.sign_in import SignIn
from mailslot_plugins.panel.token.sign_in_methods import SOURCE, SignInMethod
from mailslot_plugins.panel.token.view import settings_of, sign_in_of

if TYPE_CHECKING:
    from mailslot.slots.records import Records
    from mailslot.slots.settings import Settings
    from mailslot_plugins.panel.api.operation import Call
    from mailslot_plugins.panel.background import BackgroundTask

_SOON: Final = 10.0
"""Seconds to wait for the code, so that mostly the first answer has it."""

_LOOK: Final = 0.05
_WITHOUT_BROWSER: Final = ("device", "app")


async def show_token(call: Call) -> Response:
    """Answer with a slot's token."""
    [row] = await token_rows(call.device.records, [slot_in(call)])
    return answer(row)


async def delete_token(call: Call) -> Response:
    """Delete a token here in any case, and wait for what the provider says."""
    slot = slot_in(call)
    piece = start_deletion(call.request.app.state, slot, await settings_of(call.device, slot))
    await piece.ended.wait()
    if piece.about.error is not None:
        raise piece.about.error
    revocation = piece.about.revocation
    if revocation is None:
        raise NotDoneError(409, "The deletion was broken off by something newer.")
    told = {"told": revocation.notified, "message": revocation.sentence}
    return answer({"slot": slot.id, "record": slot.record, "token": "Not Retrieved", **told})


async def get_token(call: Call) -> Response:
    """Begin a sign-in, in the place of one that goes on."""
    slot = slot_in(call)
    settings = await settings_of(call.device, slot)
    way = await run_sync(_way, call.device.records, slot.record, settings, call.body.get("way"))
    url = call.request.url
    sign_in = SignIn(slot, way, call.request.state.session, f"{url.scheme}://{url.netloc}")
    piece = start_sign_in(call.request.app.state, sign_in, settings)
    with anyio.move_on_after(_SOON):
        while piece.running and sign_in.step == "preparing":  # noqa: ASYNC110 - it is looked at, and wakes nobody
            await anyio.sleep(_LOOK)
    return answer(_document(piece), 202, {"Location": f"/api/slots/{slot.id}/token/sign-in"})


async def show_sign_in(call: Call) -> Response:
    """Answer with how a sign-in goes."""
    return answer(_document(_recent(call)))


async def leave_sign_in(call: Call) -> Response:
    """Leave a sign-in."""
    piece = _recent(call)
    piece.about.leave()
    piece.scope.cancel()
    return Response(status_code=204)


def _way(records: Records, record: str, settings: Settings, asked: str | None) -> SignInMethod:
    """Return the way that was asked for, or the best one without a browser.

    Raises:
        InputError: it is not open, or what it needs is not set.
    """
    if settings.authentication != "oauth2":
        raise InputError(
            "This slot does not sign in with OAuth 2.0: set authentication to oauth2.",
            stage="token",
            cause="not_configured",
            key="authentication",
        )
    if settings.token_source is not None:
        return SOURCE
    flows = provider_of(settings).flows
    wanted = asked or settings.flow
    if wanted not in _WITHOUT_BROWSER:
        wanted = "device" if "device" in flows else "app"
    flow = find_flow(flow_name(settings, wanted))
    client_for_flow(records.vault, record, settings, flow.name)
    return SignInMethod("app" if flow.name in APP_FLOWS else "device", flow.name)


def _recent(call: Call) -> BackgroundTask[SignIn]:
    piece = sign_in_of(call.request, slot_in(call))
    if piece is None or not piece.about.is_recent:
        raise NotDoneError(404, "Nobody signs in there at the moment.", key="slot")
    if not piece.running:
        # It was cut short by what nobody foresaw; the log says how.
        piece.about.end("failed")
    return piece


def _document(piece: BackgroundTask[SignIn]) -> dict[str, Any]:
    sign_in = piece.about
    code = sign_in.code
    return {
        "slot": sign_in.slot.id,
        "record": sign_in.slot.record,
        "way": sign_in.way.name,
        "state": sign_in.step,
        "running": piece.running,
        # The address for a browser is for the session that asked for it alone.
        "address": None if code is None else code.verification_uri,
        "address_complete": None if code is None else code.verification_uri_complete,
        "user_code": None if code is None else code.user_code,
        "expires_at": None if code is None else iso(sign_in.code_ends_at),
        "problem": None if sign_in.error is None else problem_document(sign_in.error),
    }


_PATH: Final = "/slots/{slot}/token"

operations = (
    Operation("GET", _PATH, show_token, "Show the token of a slot.", {200: Gives("The token.", ref("Token"))}),
    Operation(
        "POST",
        _PATH,
        get_token,
        "Begin to get a token: by a code that somebody enters on another device, or by the application itself.",
        {202: Gives("How it goes.", ref("SignIn"), headers={"Location": "Where to ask how it goes on."})},
        body=entry({"way": {**one_of(*_WITHOUT_BROWSER), "description": "Without it, what is set, or fits best."}}),
        conflicts=True,
    ),
    Operation(
        "DELETE",
        _PATH,
        delete_token,
        "Delete the token, here and at the provider. It is waited for the provider, some seconds at most.",
        {200: Gives("It is gone here.", ref("Deletion"))},
        conflicts=True,
    ),
    Operation(
        "GET",
        f"{_PATH}/sign-in",
        show_sign_in,
        "Show how a sign-in goes, for ten minutes after its end.",
        {200: Gives("How it goes.", ref("SignIn"))},
    ),
    Operation("DELETE", f"{_PATH}/sign-in", leave_sign_in, "Leave a sign-in.", {204: Gives("It is left.")}),
)
