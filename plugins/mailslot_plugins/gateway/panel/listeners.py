"""``/gateway/listeners``: the listeners of the gateway."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.routing import Route

from mailslot.errors import InputError
from mailslot.service.gateway_documents import read_listeners
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.slots.slot import is_valid_name
from mailslot.timestamps import day
from mailslot_plugins.gateway.panel.changes import delete_listener, new_listener
from mailslot_plugins.gateway.panel.overview import FOLDER, gateway_log
from mailslot_plugins.panel.permission import requested_by
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.sentences import translated

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

HERE: Final = "/gateway/listeners"
_FIELDS: Final = ("name", "listen", "protocol", "security", "legacy")
_FIRST: Final = {"name": "scan", "listen": "0.0.0.0:2525", "protocol": "smtp", "security": "starttls", "legacy": ""}


async def show(request: Request) -> Response:
    """Return the page."""
    return await _page(request)


async def show_live(request: Request) -> Response:
    """Return the part of the page that refreshes automatically."""
    return await _page(request, template="gateway/listeners_live.html")


async def add(request: Request) -> Response:
    """Add a listener; the service opens it at once."""
    device = device_of(request)
    typed = {key: str(request.state.form.get(key, "")).strip() for key in _FIELDS}
    name, errors = typed["name"].lower(), dict[str, str]()
    values: dict[str, object | None] = {key: typed[key] or None for key in ("listen", "protocol", "security")}
    if typed["legacy"]:
        values["legacy"] = True
    if not is_valid_name(name):
        errors["name"] = text(request, FOLDER, "name_wrong")
    else:
        try:
            await run_sync(partial(new_listener, device.records, name, values, by=requested_by(request)))
        except InputError as error:
            errors[error.key if error.key in _FIELDS else "name"] = translated(str(error), request.state.language)
    if errors:
        return await _page(request, typed=typed, errors=errors)
    await device.refresh()
    return redirect(request, HERE, text(request, FOLDER, "is_added", name=name))


async def ask_removal(request: Request) -> Response:
    """Ask for confirmation before a listener is removed."""
    current = await run_sync(device_of(request).records.settings.current)
    name: str = request.path_params["listener"]
    if name not in current.groups["listeners"]:
        raise HTTPException(404)
    return render(request, "gateway/remove.html", name=name, means="remove_listener", back=HERE)


async def remove(request: Request) -> Response:
    """Remove a listener; the service closes it at once."""
    device, name = device_of(request), request.path_params["listener"]
    try:
        await run_sync(partial(delete_listener, device.records, name, by=requested_by(request)))
    except InputError as error:
        return redirect(request, HERE, str(error), "error")
    await device.refresh()
    return redirect(request, HERE, text(request, FOLDER, "is_removed", name=name))


async def _page(
    request: Request,
    *,
    template: str = "gateway/listeners.html",
    typed: dict[str, str] | None = None,
    errors: dict[str, str] | None = None,
) -> Response:
    device = device_of(request)
    settings = GatewaySettings.of(await run_sync(device.records.settings.current))
    noted = await read_listeners(gateway_log(device))
    first = {**_FIRST, "name": _FIRST["name"] if not settings.listeners else ""}
    return render(
        request,
        template,
        422 if errors else 200,
        listeners=list(settings.listeners.values()),
        devices={
            name: [each.name for each in settings.devices.values() if each.listener == name]
            for name in settings.listeners
        },
        listening=noted.addresses,
        failures=noted.failures,
        certificates=noted.presented(settings.listeners.values()),
        now=device.now(),
        day=day,
        typed=typed or first,
        errors=errors or {},
    )


routes = [
    Route(HERE, show),
    Route(HERE, add, methods=["POST"]),
    Route(f"{HERE}/live", show_live),
    Route(f"{HERE}/{{listener}}/remove", ask_removal),
    Route(f"{HERE}/{{listener}}/remove", remove, methods=["POST"]),
]
