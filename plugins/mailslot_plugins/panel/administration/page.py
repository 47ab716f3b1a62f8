"""``/administration``: the device's name, the password, API keys, sessions, the report for support."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from anyio.to_thread import run_sync
from starlette.responses import Response
from starlette.routing import Route

import mailslot
from mailslot.diagnosis.report import make_report
from mailslot.errors import InputError
from mailslot.slots.section import DEVICE, section_names
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.frame import frame_of
from mailslot_plugins.panel.permission import change_section, requested_by
from mailslot_plugins.panel.render import redirect, render, text
from mailslot_plugins.panel.section import PANEL
from mailslot_plugins.panel.sections.fields import allowed_text, section_name
from mailslot_plugins.panel.security.password import MIN_LENGTH
from mailslot_plugins.panel.security.paths import SIGN_IN
from mailslot_plugins.panel.security.throttle import ThrottledError
from mailslot_plugins.panel.sentences import translated
from mailslot_plugins.printers.pins import pins_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from mailslot.service.device import Device
    from mailslot.slots.section import Section
    from mailslot_plugins.panel.security.security import Security

HERE: Final = "/administration"
_NEW_KEY: Final = "new_key"
_DEVICE: Final = ("name", "location", "language", "administrator")
_PANEL: Final = ("names", "idle_minutes")


async def show(request: Request) -> Response:
    """Return the page."""
    return await _page(request)


async def set_device(request: Request) -> Response:
    """Save the device's name, location, language and administrator."""
    return await _set(request, DEVICE, _DEVICE)


async def set_panel(request: Request) -> Response:
    """Save the panel's host names and the inactivity timeout."""
    return await _set(request, PANEL, _PANEL)


async def change_password(request: Request) -> Response:
    """Change the password, and sign out all other sessions."""
    security: Security = request.state.security
    form = request.state.form
    current, new = Secret(str(form.get("current", ""))), Secret(str(form.get("password", "")))
    try:
        if not await security.try_password(request, current):
            return await _page(request, {"current": text(request, "sign_in", "wrong")})
        if new != str(form.get("again", "")):
            return await _page(request, {"again": text(request, "first_start", "not_the_same")})
        await security.change_password(request, new)
    except ThrottledError as wait:
        error = text(request, "sign_in", "wait", seconds=wait.seconds)
        return await _page(request, {"current": error}, status=429)
    except InputError:
        return await _page(request, {"password": text(request, "first_start", "too_short", least=MIN_LENGTH)})
    return redirect(request, HERE, notice=_notice(request, "password_changed"))


async def make_key(request: Request) -> Response:
    """Create an API key; the next page shows it once."""
    security: Security = request.state.security
    form = request.state.form
    name, documents = str(form.get("key_name", "")), "key_documents" in form
    try:
        key = await run_sync(partial(security.keys.make, name, documents=documents))
    except InputError as error:
        return await _page(request, {"key_name": translated(str(error), request.state.language)})
    request.state.session.data[_NEW_KEY] = key
    return redirect(request, f"{HERE}#keys")


async def delete_key(request: Request) -> Response:
    """Delete an API key."""
    security: Security = request.state.security
    await run_sync(security.keys.delete, request.path_params["id"])
    return redirect(request, f"{HERE}#keys", notice=_notice(request, "key_deleted"))


async def forget_printer(request: Request) -> Response:
    """Delete a printer's certificate, if it is still there."""
    device: Device = request.app.state.device
    with suppress(InputError):
        await pins_of(device).forget(str(request.state.form.get("printer", "")))
    return redirect(request, f"{HERE}#printers", notice=_notice(request, "printer_forgotten"))


async def sign_out_everywhere(request: Request) -> Response:
    """End all sessions, including this one."""
    request.state.security.sign_out(request, everywhere=True)
    return redirect(request, SIGN_IN, notice=_notice(request, "signed_out_everywhere"))


async def report(request: Request) -> Response:
    """Return the report for support as a file."""
    device: Device = request.app.state.device
    octets = await make_report(device.records, device.now())
    headers = {"content-disposition": 'attachment; filename="mailslot-report.zip"'}
    return Response(octets, media_type="application/zip", headers=headers)


async def _set(request: Request, section: Section, keys: tuple[str, ...]) -> Response:
    device: Device = request.app.state.device
    form = request.state.form
    typed = {key: str(form.get(key, "")).strip() for key in keys}
    changes: dict[str, object | None] = {key: value or None for key, value in typed.items()}
    try:
        await run_sync(partial(change_section, device.records.settings, section, changes, by=requested_by(request)))
    except InputError as error:
        sentence = str(error)
        if error.key in typed:
            allowed = allowed_text(section, error.key, request.state.language)
            sentence = text(request, "sections", "not_allowed", value=typed[error.key], allowed=allowed)
        return await _page(request, {section.name: sentence}, {section.name: typed})
    await device.refresh()
    return redirect(request, HERE, notice=_notice(request, "kept"))


async def _page(
    request: Request,
    errors: dict[str, str] | None = None,
    typed: dict[str, dict[str, str]] | None = None,
    status: int = 422,
) -> Response:
    device: Device = request.app.state.device
    new_key = request.state.session.data.pop(_NEW_KEY, None)
    security: Security | None = request.state.security if frame_of(request).place is None else None
    values: dict[str, dict[str, Any]] = {
        section.name: {key: _text(device.settings(section)[key]) for key in keys}
        for section, keys in ((DEVICE, _DEVICE), (PANEL, _PANEL))
    }
    return render(
        request,
        "administration/administration.html",
        status if errors else 200,
        errors=errors or {},
        values=values | (typed or {}),
        keys=[] if security is None else await run_sync(security.keys.all),
        # It is shown here only.
        new_key=new_key.reveal() if isinstance(new_key, Secret) else "",
        has_access=security is not None,
        certificate=None if security is None else security.certificate,
        printers=await pins_of(device).all(),
        sections=[(name, section_name(name, request.state.language)) for name in await run_sync(section_names)],
        least=MIN_LENGTH,
        version=mailslot.__version__,
        python=sys.version.partition(" ")[0],
    )


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(one) for one in cast("tuple[object, ...]", value))
    return "" if value is None else str(value)


def _notice(request: Request, key: str) -> str:
    return text(request, "administration", key)


routes_in_fleet = [
    Route(HERE, show),
    Route(f"{HERE}/device", set_device, methods=["POST"]),
    Route(f"{HERE}/printers/forget", forget_printer, methods=["POST"]),
    Route(f"{HERE}/report", report, methods=["POST"]),
]
"""The routes without the device's own sign-in and keys, for which a fleet has others."""

routes = [
    *routes_in_fleet,
    Route(f"{HERE}/panel", set_panel, methods=["POST"]),
    Route(f"{HERE}/password", change_password, methods=["POST"]),
    Route(f"{HERE}/keys", make_key, methods=["POST"]),
    Route(f"{HERE}/keys/{{id}}/delete", delete_key, methods=["POST"]),
    Route(f"{HERE}/sign-out-everywhere", sign_out_everywhere, methods=["POST"]),
]
