"""``/gateway``: the devices, unknown devices, and the form for a new device."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync
from starlette.routing import Route

from mailslot.errors import InputError
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.slots.slot import is_valid_name
from mailslot_plugins.gateway.panel.changes import new_device
from mailslot_plugins.gateway.panel.form import DeviceForm, find_errors, read_form
from mailslot_plugins.gateway.panel.overview import FOLDER, account_choices, device_rows, gateway_log, sentence_of
from mailslot_plugins.panel.permission import requested_by
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.sentences import translated

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.wire.secret import Secret
    from mailslot_plugins.gateway.panel.overview import AccountChoice

HERE: Final = "/gateway"
NEW_PASSWORD: Final = "gateway_password"  # noqa: S105 - the name of a session's datum
"""The session's key for a device's name and new password, kept until the page has shown it."""

_MAX_UNKNOWN: Final = 50


async def show(request: Request) -> Response:
    """Return the page."""
    return await _page(request)


async def show_live(request: Request) -> Response:
    """Return the part of the page that refreshes automatically."""
    device = device_of(request)
    settings = GatewaySettings.of(await run_sync(device.records.settings.current))
    rows = await device_rows(device, settings, request.state.language)
    return render(request, "gateway/devices_live.html", rows=rows)


async def ask_new(request: Request) -> Response:
    """Return the form of a new device."""
    return await new_page(request, DeviceForm())


async def add(request: Request) -> Response:
    """Add a device; its page shows the generated password."""
    form = read_form(request.state.form)
    find_errors(request, form)
    if not form.errors:
        try:
            return await _add(request, form.name, form.values())
        except InputError as error:
            form.errors[error.key if error.key in form.values() else ""] = translated(
                str(error), request.state.language
            )
    return await new_page(request, form)


async def adopt(request: Request) -> Response:
    """Add a device that tried to connect, with its address and the user that it tried."""
    device, form = device_of(request), request.state.form
    address, name = str(form.get("address", "")), str(form.get("name", "")).strip().lower()
    log = gateway_log(device)
    found = next((each for each in await log.unknown_devices() if each.address == address), None)
    if found is None:
        return redirect(request, HERE, text(request, FOLDER, "unknown_gone"), "warning")
    if not is_valid_name(name):
        return await _page(request, {address: text(request, FOLDER, "name_wrong")}, {address: name})
    values: dict[str, object | None] = {
        "address": [address],
        "user": found.user or None,
        "via": str(form.get("via", "")) or None,
    }
    try:
        added = await _add(request, name, values)
    except InputError as error:
        return await _page(request, {address: translated(str(error), request.state.language)}, {address: name})
    await log.forget(unknown=[address])
    return added


async def new_page(request: Request, form: DeviceForm) -> Response:
    """Return the form of a new device."""
    current = await run_sync(device_of(request).records.settings.current)
    accounts = account_choices(current.records, request.state.language)
    return render(
        request,
        "gateway/new_device.html",
        422 if form.errors else 200,
        form=form,
        accounts=accounts,
        via=form.get("via") or preferred_account(accounts),
        listeners=list(current.groups["listeners"]),
    )


def preferred_account(accounts: Iterable[AccountChoice], protocol: str = "SMTP") -> str:
    """Return the id of the slot or account that most devices will use; empty if there is none."""
    fitting = [each for each in accounts if each.protocol == protocol]
    return max(fitting, key=lambda each: each.is_set).id if fitting else ""


async def _add(request: Request, name: str, values: dict[str, object | None]) -> Response:
    device = device_of(request)
    made: Secret | None = await run_sync(partial(new_device, device.records, name, values, by=requested_by(request)))
    await device.refresh()
    if made is not None:
        request.state.session.data[NEW_PASSWORD] = (name, made)
    return redirect(request, f"{HERE}/devices/{name}", text(request, FOLDER, "is_added", name=name))


async def _page(
    request: Request, errors: dict[str, str] | None = None, typed: dict[str, str] | None = None
) -> Response:
    device, language = device_of(request), request.state.language
    current = await run_sync(device.records.settings.current)
    settings, accounts = GatewaySettings.of(current), account_choices(current.records, request.state.language)
    unknown = (await gateway_log(device).unknown_devices())[:_MAX_UNKNOWN]
    protocols = {name: each.protocol for name, each in settings.listeners.items()}
    context: dict[str, Any] = {
        "rows": await device_rows(device, settings, language),
        "unknown_devices": [
            (each, sentence_of(each, language), protocols.get(each.listener, "SMTP")) for each in unknown
        ],
        "accounts": accounts,
        "preferred_account": {protocol: preferred_account(accounts, protocol) for protocol in ("SMTP", "POP")},
        "errors": errors or {},
        "typed": typed or {},
        "has_account": any(each.is_set for each in accounts),
        "has_listener": bool(settings.listeners),
    }
    return render(request, "gateway/devices.html", 422 if errors else 200, **context)


routes = [
    Route(HERE, show),
    Route(f"{HERE}/live", show_live),
    Route(f"{HERE}/new", ask_new),
    Route(f"{HERE}/new", add, methods=["POST"]),
    Route(f"{HERE}/adopt", adopt, methods=["POST"]),
]
