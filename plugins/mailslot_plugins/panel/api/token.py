"""``/api/slots/{slot}/token``: a slot's token; getting one with a code or as the application, and deleting it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.to_thread import run_sync
from starlette.responses import Response

from mailslot.errors import InputError
from mailslot.oauth.token_errors import DEVICE_CODE_BLOCKED
from mailslot.service.json_documents import token_rows
from mailslot.slots.flows import APP_FLOWS, find_flow, flow_name, offered_flows, provider_of
from mailslot.slots.oauth_client import client_for_flow
from mailslot.timestamps import iso
from mailslot_plugins.panel.api.json_schema import closed_object_schema, enum_of, schema_ref
from mailslot_plugins.panel.api.operation import Operation, ResponseSpec, json_response
from mailslot_plugins.panel.api.path_parameters import slot_from_path
from mailslot_plugins.panel.problem import ProblemError, problem_document
from mailslot_plugins.panel.token.deletion import start_deletion
from mailslot_plugins.panel.token.retrieval import start_sign_in
from mailslot_plugins.panel.token.sign_in import SignIn
from mailslot_plugins.panel.token.sign_in_methods import SOURCE, SignInMethod
from mailslot_plugins.panel.token.state import token_state
from mailslot_plugins.panel.token.view import blocked_flows, settings_of, sign_in_of
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailslot.slots.records import Records
    from mailslot.slots.settings import Settings
    from mailslot_plugins.panel.api.operation import Call
    from mailslot_plugins.panel.background import BackgroundTask

_CODE_TIMEOUT: Final = 10.0
"""Seconds to wait for the code, so that usually the first response contains it."""

_POLL_INTERVAL: Final = 0.05
_WITHOUT_BROWSER: Final = ("device", "app")


async def show_token(call: Call) -> Response:
    """Return a slot's token."""
    [row] = await token_rows(call.device.records, [slot_from_path(call)])
    return json_response(row)


async def delete_token(call: Call) -> Response:
    """Delete a token, and wait for the provider to revoke it."""
    slot = slot_from_path(call)
    task = start_deletion(call.request.app.state, slot, await settings_of(call.device, slot))
    await task.ended.wait()
    if task.subject.error is not None:
        raise task.subject.error
    revocation = task.subject.revocation
    if revocation is None:
        raise ProblemError(409, "The deletion was interrupted by a newer request.")
    document = {"told": revocation.notified, "message": revocation.sentence}
    return json_response({"slot": slot.id, "record": slot.record, "token": "Not Retrieved", **document})


async def get_token(call: Call) -> Response:
    """Start a sign-in; it replaces a running one."""
    slot = slot_from_path(call)
    state = await token_state(call.device, slot.record)
    settings, blocked = state.settings, blocked_flows(call.request, slot, state)
    method = await run_sync(_choose_method, call.device.records, slot.record, settings, call.body.get("way"), blocked)
    url = call.request.url
    sign_in = SignIn(slot, method, call.request.state.session, f"{url.scheme}://{url.netloc}")
    task = start_sign_in(call.request.app.state, sign_in, settings)
    with anyio.move_on_after(_CODE_TIMEOUT):
        while task.running and sign_in.step == "preparing":  # noqa: ASYNC110 - the sign-in has no event for its steps
            await anyio.sleep(_POLL_INTERVAL)
    return json_response(_document(task, call.language), 202, {"Location": f"/api/slots/{slot.id}/token/sign-in"})


async def show_sign_in(call: Call) -> Response:
    """Return the progress of a sign-in."""
    return json_response(_document(_recent(call), call.language))


async def leave_sign_in(call: Call) -> Response:
    """Cancel a sign-in."""
    task = _recent(call)
    task.subject.leave()
    task.scope.cancel()
    return Response(status_code=204)


def _choose_method(
    records: Records, record: str, settings: Settings, requested: str | None, blocked: Collection[str]
) -> SignInMethod:
    """Return the requested sign-in method, blocked or not, or the best one without a browser.

    Raises:
        InputError: it is not available, or a setting is missing; cause `device_code_blocked`: only a browser is left.
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
    flow = find_flow(flow_name(settings, requested or _best_flow(records, record, settings, blocked)))
    client_for_flow(records.vault, record, settings, flow.name)
    blockable = provider_of(settings).quirks.blockable_flows
    return SignInMethod("app" if flow.name in APP_FLOWS else "device", flow.name, can_be_blocked=flow.name in blockable)


def _best_flow(records: Records, record: str, settings: Settings, blocked: Collection[str]) -> str:
    provider = provider_of(settings).at_tenant(settings.tenant)
    confidential = "client_secret" in records.vault.fields(record)
    offered = offered_flows(provider, settings, confidential=confidential, blocked=blocked)
    best = next((flow for flow in offered if flow == "device" or flow in APP_FLOWS), None)
    if best is None and "device" in provider.flows and "device" in blocked:
        raise InputError(
            "The organisation no longer allows device codes: sign in on the panel's page, or enter the application's "
            "secret or certificate, so that it signs in by itself.",
            stage="token",
            cause=DEVICE_CODE_BLOCKED,
            key="way",
        )
    return best or "app"


def _recent(call: Call) -> BackgroundTask[SignIn]:
    task = sign_in_of(call.request, slot_from_path(call))
    if task is None or not task.subject.is_recent:
        raise ProblemError(404, "No sign-in is running there at the moment.", key="slot")
    if not task.running:
        # An unexpected exception ended it; it has been logged.
        task.subject.end("failed")
    return task


def _document(task: BackgroundTask[SignIn], language: str) -> dict[str, Any]:
    sign_in = task.subject
    code = sign_in.code
    return {
        "slot": sign_in.slot.id,
        "record": sign_in.slot.record,
        "way": sign_in.method.name,
        "warning": translate("token", "way_can_be_blocked", language) if sign_in.method.can_be_blocked else None,
        "state": sign_in.step,
        "running": task.running,
        # The address for a browser is only for the session that requested it.
        "address": None if code is None else code.verification_uri,
        "address_complete": None if code is None else code.verification_uri_complete,
        "user_code": None if code is None else code.user_code,
        "expires_at": None if code is None else iso(sign_in.code_ends_at),
        "problem": None if sign_in.error is None else problem_document(sign_in.error),
    }


_PATH: Final = "/slots/{slot}/token"

operations = (
    Operation(
        "GET", _PATH, show_token, "Show the token of a slot.", {200: ResponseSpec("The token.", schema_ref("Token"))}
    ),
    Operation(
        "POST",
        _PATH,
        get_token,
        "Start to get a token: with a code that somebody enters on another device, or as the application itself.",
        {
            202: ResponseSpec(
                "Its progress.", schema_ref("SignIn"), headers={"Location": "The address of its progress."}
            )
        },
        body=closed_object_schema(
            {"way": {**enum_of(*_WITHOUT_BROWSER), "description": "Default: the flow that is set, or the best one."}}
        ),
        conflicts=True,
    ),
    Operation(
        "DELETE",
        _PATH,
        delete_token,
        "Delete the token, here and at the provider, for which it waits some seconds at most.",
        {200: ResponseSpec("The token is deleted here.", schema_ref("Deletion"))},
        conflicts=True,
    ),
    Operation(
        "GET",
        f"{_PATH}/sign-in",
        show_sign_in,
        "Show the progress of a sign-in, until ten minutes after its end.",
        {200: ResponseSpec("Its progress.", schema_ref("SignIn"))},
    ),
    Operation("DELETE", f"{_PATH}/sign-in", leave_sign_in, "Cancel a sign-in.", {204: ResponseSpec("Cancelled.")}),
)
