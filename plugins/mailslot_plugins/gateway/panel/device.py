"""``/gateway/devices/{device}``: a device with the values to enter at it, its last dialogues, and its settings."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.routing import Route

from mailslot.errors import InputError
from mailslot.slots.gateway.entries import password_kind
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.slots.gateway.instructions import instructions
from mailslot.slots.gateway.table_groups import DEVICES
from mailslot.spool.job import DEVICE_NOTE
from mailslot_plugins.gateway.panel.changes import change_device, delete_device, new_password
from mailslot_plugins.gateway.panel.devices import HERE, NEW_PASSWORD
from mailslot_plugins.gateway.panel.form import find_errors, form_of, read_form
from mailslot_plugins.gateway.panel.makers import makers
from mailslot_plugins.gateway.panel.overview import FOLDER, account_choices, device_rows, gateway_log, sentence_of
from mailslot_plugins.panel.permission import requested_by
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.sentences import translated

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.slots.settings_document import CurrentSettings
    from mailslot.wire.secret import Secret
    from mailslot_plugins.gateway.panel.form import DeviceForm

_JOBS: Final = 5
_JOBS_READ: Final = 500
"""The number of newest jobs that are searched for those of the device."""


async def show(request: Request) -> Response:
    """Return the page."""
    return await _page(request)


async def show_live(request: Request) -> Response:
    """Return the part of the page that refreshes automatically."""
    current, name = await _found(request)
    [row] = await device_rows(device_of(request), GatewaySettings.of(current), request.state.language, [name])
    return render(request, "gateway/device_live.html", row=row)


async def show_sheet(request: Request) -> Response:
    """Return a printable page for the person at the device, with the steps through its menu."""
    current, name = await _found(request)
    known = makers()
    maker = next((each for each in known if each.id == request.query_params.get("maker", "")), None)
    context = await _entering(request, current, name)
    return render(request, "gateway/sheet.html", name=name, makers=known, maker=maker, **context)


async def change(request: Request) -> Response:
    """Change the device's settings."""
    device = device_of(request)
    current, name = await _found(request)
    form = read_form(request.state.form, name)
    values = current.groups[DEVICES.name][name]
    find_errors(request, form, certificate="certificate" in values)
    if not form.errors:
        try:
            await run_sync(partial(change_device, device.records, name, form.values(), by=requested_by(request)))
        except InputError as error:
            form.errors[error.key if error.key in form.values() else ""] = translated(
                str(error), request.state.language
            )
    if form.errors:
        return await _page(request, form)
    await device.refresh()
    return redirect(request, f"{HERE}/devices/{name}", text(request, FOLDER, "is_saved"))


async def ask_password(request: Request) -> Response:
    """Ask for confirmation before the device gets a new password."""
    current, name = await _found(request)
    if current.groups[DEVICES.name][name].get("user") is None:
        raise HTTPException(404)
    return render(request, "gateway/password.html", name=name)


async def make_password(request: Request) -> Response:
    """Give the device a new password; its page shows it once."""
    device = device_of(request)
    _, name = await _found(request)
    try:
        made = await run_sync(partial(new_password, device.records, name, by=requested_by(request)))
    except InputError as error:
        return redirect(request, f"{HERE}/devices/{name}", str(error), "error")
    request.state.session.data[NEW_PASSWORD] = (name, made)
    return redirect(request, f"{HERE}/devices/{name}")


async def ask_removal(request: Request) -> Response:
    """Ask for confirmation before the device is removed."""
    _, name = await _found(request)
    return render(request, "gateway/remove.html", name=name, means="remove_device", back=f"{HERE}/devices/{name}")


async def remove(request: Request) -> Response:
    """Remove the device."""
    device = device_of(request)
    _, name = await _found(request)
    try:
        await run_sync(partial(delete_device, device.records, name, by=requested_by(request)))
    except InputError as error:
        return redirect(request, f"{HERE}/devices/{name}", str(error), "error")
    await gateway_log(device).forget(device=name)
    await device.refresh()
    return redirect(request, HERE, text(request, FOLDER, "is_removed", name=name))


async def _page(request: Request, form: DeviceForm | None = None) -> Response:
    device, language = device_of(request), request.state.language
    current, name = await _found(request)
    settings = GatewaySettings.of(current)
    [row] = await device_rows(device, settings, language, [name])
    jobs = await device.spool.jobs(pipeline=FOLDER, limit=_JOBS_READ)
    password = request.state.session.data.get(NEW_PASSWORD)
    if password is not None:
        del request.state.session.data[NEW_PASSWORD]
    made: Secret | None = password[1] if password is not None and password[0] == name else None
    context: dict[str, Any] = {
        "row": row,
        "name": name,
        "form": form or form_of(row.entry, current.groups[DEVICES.name][name]),
        "errors": {} if form is None else form.errors,
        "accounts": [
            each for each in account_choices(current.records, request.state.language) if each.protocol == row.protocol
        ],
        "listeners": [key for key, each in settings.listeners.items() if each.protocol == row.protocol],
        "made": None if made is None else made.reveal(),
        "dialogues": [(each, sentence_of(each, language)) for each in await gateway_log(device).dialogues(name)],
        "jobs": [job for job in jobs if job.notes.get(DEVICE_NOTE) == name][:_JOBS],
        "kind": await run_sync(password_kind, device.records, name) if row.entry.user is not None else None,
        **await _entering(request, current, name),
    }
    return render(request, "gateway/device.html", 422 if form is not None else 200, **context)


async def _entering(request: Request, current: CurrentSettings, name: str) -> dict[str, Any]:
    """Return the values to enter at the device, for each listener that it may use."""
    settings = GatewaySettings.of(current)
    entry = settings.devices[name]
    slot = settings.slots.find(entry.via)
    taken = await gateway_log(device_of(request)).listening()
    return {
        "entry": entry,
        "protocol": settings.protocol(entry),
        "account": settings.addresses.get(entry.via, ""),
        "enter": await run_sync(instructions, settings, entry, taken),
        "is_checked_by_hand": slot.protocol == "POP" and current.records[slot.record].check_interval == 0,
        "given_certificates": [each.name for each in settings.listeners.values() if each.certificate is not None],
    }


async def _found(request: Request) -> tuple[CurrentSettings, str]:
    """Return the settings, and the device in the address.

    Raises:
        HTTPException: 404, there is no such device.
    """
    current = await run_sync(device_of(request).records.settings.current)
    name: str = request.path_params["device"]
    if name not in current.groups[DEVICES.name]:
        raise HTTPException(404)
    return current, name


_DEVICE: Final = f"{HERE}/devices/{{device}}"

routes = [
    Route(_DEVICE, show),
    Route(_DEVICE, change, methods=["POST"]),
    Route(f"{_DEVICE}/live", show_live),
    Route(f"{_DEVICE}/sheet", show_sheet),
    Route(f"{_DEVICE}/password", ask_password),
    Route(f"{_DEVICE}/password", make_password, methods=["POST"]),
    Route(f"{_DEVICE}/remove", ask_removal),
    Route(f"{_DEVICE}/remove", remove, methods=["POST"]),
]
