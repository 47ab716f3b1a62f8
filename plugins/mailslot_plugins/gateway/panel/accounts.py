"""``/gateway/accounts``: further accounts. Their settings, tokens and tests are on the pages of their slots."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.routing import Route

from mailslot.errors import InputError, MailError
from mailslot.slots.accounts import add_account, find_account, remove_account
from mailslot.slots.settings import protocol_from
from mailslot.slots.slot import is_valid_name
from mailslot_plugins.gateway.panel.overview import FOLDER
from mailslot_plugins.panel.home.record_overview import record_overviews
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.security.session import Notice
from mailslot_plugins.panel.sentences import translated

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.slots.slot import Slot

HERE: Final = "/gateway/accounts"
_PROTOCOLS: Final = ("smtp", "pop3")


async def show(request: Request) -> Response:
    """Return the page."""
    return await _page(request)


async def add(request: Request) -> Response:
    """Add an account, and go on to its settings."""
    device, form = device_of(request), request.state.form
    name, protocol = str(form.get("name", "")).strip().lower(), str(form.get("protocol", ""))
    if not is_valid_name(name):
        return await _page(request, name, text(request, FOLDER, "name_wrong"))
    try:
        known = protocol if protocol in _PROTOCOLS else "smtp"
        slot = await run_sync(partial(add_account, device.records, name, protocol_from(known)))
    except InputError as error:
        return await _page(request, name, translated(str(error), request.state.language))
    await device.refresh()
    return redirect(request, f"/slots/{slot.id}", text(request, FOLDER, "account_is_added", name=name))


async def ask_removal(request: Request) -> Response:
    """Ask for confirmation before an account is removed."""
    name = (await _found(request)).id.partition(".")[2]
    return render(request, "gateway/remove.html", name=name, means="remove_account", back=HERE)


async def remove(request: Request) -> Response:
    """Remove an account with its token and its secrets."""
    device = device_of(request)
    slot = await _found(request)
    try:
        sentence = await remove_account(device.records, slot)
    except MailError as error:
        return redirect(request, HERE, str(error), "error")
    await device.refresh()
    if sentence:
        request.state.session.notices.append(Notice("done", sentence))
    return redirect(request, HERE, text(request, FOLDER, "is_removed", name=slot.id.partition(".")[2]))


async def _page(request: Request, typed: str = "", error: str = "") -> Response:
    device = device_of(request)
    current = await run_sync(device.records.settings.current)
    devices: dict[str, list[str]] = {}
    for name, values in current.groups["devices"].items():
        devices.setdefault(values.get("via", "network.smtp"), []).append(name)
    overviews = await record_overviews(device)
    return render(
        request,
        "gateway/accounts.html",
        422 if error else 200,
        accounts=[each for each in overviews if each.purpose.startswith("account_")],
        devices=devices,
        typed=typed,
        error=error,
    )


async def _found(request: Request) -> Slot:
    """Return the slot of the account in the address.

    Raises:
        HTTPException: 404, there is no such account.
    """
    try:
        return await run_sync(find_account, device_of(request).records, request.path_params["account"])
    except InputError:
        raise HTTPException(404) from None


routes = [
    Route(HERE, show),
    Route(HERE, add, methods=["POST"]),
    Route(f"{HERE}/{{account}}/remove", ask_removal),
    Route(f"{HERE}/{{account}}/remove", remove, methods=["POST"]),
]
