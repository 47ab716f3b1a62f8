"""``/slots/{slot}/token``: get a token, register the application, delete the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync
from starlette.responses import Response
from starlette.routing import Route

from mailslot.errors import InputError, MailError
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.security.session import Notice
from mailslot_plugins.panel.slots.menu import slot_of
from mailslot_plugins.panel.slots.review import drop_texts
from mailslot_plugins.panel.token import callback
from mailslot_plugins.panel.token.application import save
from mailslot_plugins.panel.token.deletion import start_deletion
from mailslot_plugins.panel.token.retrieval import start_sign_in
from mailslot_plugins.panel.token.sign_in import SignIn
from mailslot_plugins.panel.token.state import token_state
from mailslot_plugins.panel.token.view import (
    blocked_flows,
    deletion_of,
    page_context,
    progress_context,
    settings_of,
    sign_in_of,
    sign_in_options,
)
from mailslot_plugins.tokens.paste import UnusablePasteError, parse_pasted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from mailslot.slots.slot import Slot


async def show(request: Request) -> Response:
    """Return the page."""
    return render(request, "token/token.html", **await page_context(request, slot_of(request)))


async def show_progress(request: Request) -> Response:
    """Return the live part of the page; nothing if the browser has the newest version."""
    slot = slot_of(request)
    shown = progress_context(request, slot)
    sign_in: SignIn | None = shown["sign_in"]
    if sign_in is None or not shown["running"]:
        return Response(status_code=204, headers={"HX-Redirect": _path(slot)})
    if sign_in.step == "address" and sign_in.method.name == "browser" and not sign_in.opened:
        # Only once, so that a person who comes back stays here.
        sign_in.opened = True
        return Response(status_code=204, headers={"HX-Redirect": sign_in.address})
    if request.query_params.get("seen") == sign_in.step:
        return Response(status_code=204)
    account = (await settings_of(device_of(request), slot)).account
    return render(request, "token/progress.html", live=True, account=account, **shown)


async def start(request: Request) -> Response:
    """Start a sign-in."""
    slot, device = slot_of(request), device_of(request)
    state = await token_state(device, slot.record)
    settings, blocked = state.settings, blocked_flows(request, slot, state)
    options = await run_sync(sign_in_options, device.records, slot.record, settings, request.url, blocked)
    requested = request.state.form.get("way", "")
    method = next((method for method in options.methods if method.name == requested), None)
    if method is None:
        return redirect(request, _path(slot), text(request, "token", "way_gone"), "warning")
    origin = f"{request.url.scheme}://{request.url.netloc}"
    start_sign_in(request.app.state, SignIn(slot, method, request.state.session, origin), settings)
    return redirect(request, _path(slot))


async def paste(request: Request) -> Response:
    """Accept the pasted redirect address."""
    slot = slot_of(request)
    sign_in: SignIn | None = progress_context(request, slot)["sign_in"]
    if sign_in is None or sign_in.pending is None:
        return redirect(request, _path(slot), text(request, "token", "gone"), "warning")
    try:
        parameters = parse_pasted(str(request.state.form.get("address", "")), sign_in.pending.attempt)
    except UnusablePasteError as error:
        fault = text(request, "token", f"pasted_{error.fault}", address=sign_in.pending.attempt.redirect_uri)
        # The pasted text may contain a code, so it is not shown again.
        return render(request, "token/token.html", 422, **await page_context(request, slot, faults={"address": fault}))
    if sign_in.pending.accept(parameters):
        sign_in.mark_fetching()
    return redirect(request, _path(slot))


async def cancel(request: Request) -> Response:
    """Cancel this browser's sign-in, or close its result."""
    slot = slot_of(request)
    task = sign_in_of(request, slot)
    if task is not None and task.subject.is_of(request.state.session):
        task.subject.leave()
        task.scope.cancel()
    return redirect(request, _path(slot))


async def save_application(request: Request) -> Response:
    """Save the application's id, tenant and secret."""
    slot, device = slot_of(request), device_of(request)
    settings = await settings_of(device, slot)
    provider = (await run_sync(sign_in_options, device.records, slot.record, settings, request.url)).provider
    if provider is None:
        return redirect(request, _path(slot))
    form = {name: str(value) for name, value in request.state.form.items()}
    try:
        changed = await run_sync(save, device.records, slot.record, provider, form)
    except MailError as error:
        key = error.key if isinstance(error, InputError) else ""
        fault = _fault(request, key, form, error)
        shown: dict[str, Any] = await page_context(request, slot, faults={key or "application": fault})
        shown["values"] = {**shown["values"], **{name: form.get(name, "") for name in shown["fields"]}}
        return render(request, "token/token.html", 422, **shown)
    request.state.session.notices += [Notice("warning", each) for each in drop_texts(request, changed.dropped)]
    return redirect(request, _path(slot), text(request, "token", "saved"))


async def ask_delete(request: Request) -> Response:
    """Ask for confirmation before the token is deleted."""
    return render(request, "token/delete.html", **await page_context(request, slot_of(request)))


async def delete(request: Request) -> Response:
    """Start to delete the token."""
    slot = slot_of(request)
    start_deletion(request.app.state, slot, await settings_of(device_of(request), slot))
    return redirect(request, _path(slot))


async def confirm_moved(request: Request) -> Response:
    """Record that the device was moved and not copied, so that the token is refreshed here."""
    slot = slot_of(request)
    try:
        await device_of(request).records.tokens.store(slot.record).move_here()
    except MailError as error:
        return redirect(request, _path(slot), str(error), "error")
    return redirect(request, _path(slot), text(request, "token", "is_moved"))


async def show_deletion(request: Request) -> Response:
    """Reload the page once the token is deleted."""
    slot = slot_of(request)
    task = deletion_of(request, slot)
    running = task is not None and task.running
    return Response(status_code=204, headers={} if running else {"HX-Redirect": _path(slot)})


def _fault(request: Request, key: str, form: Mapping[str, str], error: MailError) -> str:
    if key == "client_id" and not form.get("client_id", "").strip():
        return text(request, "token", "id_missing")
    return text(request, "token", "tenant_wrong") if key == "tenant" else str(error)


def _path(slot: Slot) -> str:
    return f"/slots/{slot.id}/token"


routes = [
    Route("/slots/{slot}/token", show),
    Route("/slots/{slot}/token", start, methods=["POST"]),
    Route("/slots/{slot}/token/progress", show_progress),
    Route("/slots/{slot}/token/paste", paste, methods=["POST"]),
    Route("/slots/{slot}/token/cancel", cancel, methods=["POST"]),
    Route("/slots/{slot}/token/application", save_application, methods=["POST"]),
    Route("/slots/{slot}/token/delete", ask_delete),
    Route("/slots/{slot}/token/delete", delete, methods=["POST"]),
    Route("/slots/{slot}/token/deletion", show_deletion),
    Route("/slots/{slot}/token/moved", confirm_moved, methods=["POST"]),
    *callback.routes,
]
