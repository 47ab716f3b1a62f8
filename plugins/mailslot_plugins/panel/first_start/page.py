"""``/first-start``: the setup steps: password, device, first slot, and what to do next.

The password comes first. Once it is set, the device has an administrator, and the other steps can be skipped.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync
from starlette.routing import Route

from mailslot.errors import InputError
from mailslot.oauth.presets import presets
from mailslot.slots.section import DEVICE
from mailslot.slots.slot import slots_of
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.background import tasks_of
from mailslot_plugins.panel.first_start.clock import ClockCheck, check_clock
from mailslot_plugins.panel.permission import change_section
from mailslot_plugins.panel.pipelines import pipeline_text
from mailslot_plugins.panel.render import redirect, render, text
from mailslot_plugins.panel.security.addresses import is_local
from mailslot_plugins.panel.security.password import MIN_LENGTH, PasswordExistsError
from mailslot_plugins.panel.security.paths import FIRST_START, SIGN_IN
from mailslot_plugins.panel.security.session import Notice
from mailslot_plugins.panel.security.throttle import ThrottledError
from mailslot_plugins.panel.sentences import translated
from mailslot_plugins.panel.slots.errors import error_text
from mailslot_plugins.panel.slots.names import menu_steps
from mailslot_plugins.panel.slots.review import drop_texts

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.service.device import Device
    from mailslot_plugins.panel.pipelines import PipelinePage
    from mailslot_plugins.panel.security.security import Security

RECORD: Final = "smtp"
"""The record for scans, faxes and replies, which most people need first."""

SLOT: Final = "network.smtp"
_CLOCK: Final = ("clock",)


async def show_password(request: Request) -> Response:
    """Return the first step; redirect to the second one if a password is set."""
    security: Security = request.state.security
    if await security.is_claimed():
        return redirect(request, f"{FIRST_START}/device")
    return _password_page(request, {})


async def set_password(request: Request) -> Response:
    """Set the first password, and sign the administrator in."""
    security: Security = request.state.security
    if await security.is_claimed():
        return redirect(request, f"{FIRST_START}/device")
    form, errors, status = request.state.form, dict[str, str](), 422
    password, again = str(form.get("password", "")), str(form.get("again", ""))
    try:
        if not await security.try_code(request, str(form.get("code", ""))):
            errors["code"] = text(request, "first_start", "code_wrong")
        elif password != again:
            errors["again"] = text(request, "first_start", "not_the_same")
        else:
            await security.change_password(request, Secret(password), first=True)
    except ThrottledError as wait:
        errors["code"], status = text(request, "first_start", "code_wait", seconds=wait.seconds), 429
    except PasswordExistsError:
        # Somebody else was faster; this browser has to sign in.
        return redirect(request, SIGN_IN)
    except InputError:
        errors["password"] = text(request, "first_start", "too_short", least=MIN_LENGTH)
    if errors:
        return _password_page(request, errors, status)
    return redirect(request, f"{FIRST_START}/device")


async def show_device(request: Request) -> Response:
    """Return the second step: the device's name, location, language and time."""
    device: Device = request.app.state.device
    identity = device.identity
    values = {"name": identity.name, "location": identity.location, "language": identity.language}
    return _device_page(request, values, "")


async def set_device(request: Request) -> Response:
    """Save them."""
    device: Device = request.app.state.device
    form = request.state.form
    values = {key: str(form.get(key, "")).strip() for key in ("name", "location", "language")}
    changes: dict[str, object | None] = {key: value or None for key, value in values.items()}
    try:
        await run_sync(partial(change_section, device.records.settings, DEVICE, changes, by="administrator"))
    except InputError as error:
        return _device_page(request, values, translated(str(error), request.state.language), 422)
    await device.refresh()
    return redirect(request, f"{FIRST_START}/{'purpose' if _others(request) else 'slot'}")


async def show_purpose(request: Request) -> Response:
    """Return the choice between the device's own mail and the pages of pipelines."""
    return render(request, "first_start/purpose.html", others=_others(request))


async def show_slot(request: Request) -> Response:
    """Return the third step: the provider and the account."""
    device: Device = request.app.state.device
    settings = (await run_sync(device.records.settings.load))[RECORD]
    return _slot_page(request, {"provider": settings.provider or "", "account": settings.account or ""}, "")


async def set_slot(request: Request) -> Response:
    """Save it; for an own server, redirect to the slot's page, where it can be set."""
    device: Device = request.app.state.device
    form = request.state.form
    values = {key: str(form.get(key, "")).strip() for key in ("provider", "account")}
    own = values["provider"] not in presets()
    changes: dict[str, object | None]
    if own:
        changes = {"provider": "custom", "account": values["account"] or None}
    elif values["account"]:
        changes = {**values, "authentication": "oauth2", "sender_address": values["account"]}
    else:
        return _slot_page(request, values, text(request, "first_start", "account_missing"), 422)
    secrets: dict[str, Secret | None] = {}
    try:
        changed = await run_sync(partial(device.records.change, RECORD, changes, secrets, role="administrator"))
    except InputError as error:
        return _slot_page(request, values, error_text(error, request.state.language), 422)
    request.state.session.notices += [Notice("warning", each) for each in drop_texts(request, changed.dropped)]
    if own:
        return redirect(request, f"/slots/{SLOT}")
    # The clock is compared in the background, so that no page waits for it.
    tasks_of(request.app.state).start(_CLOCK, ClockCheck(), partial(check_clock, device, RECORD))
    return redirect(request, f"{FIRST_START}/done")


async def show_done(request: Request) -> Response:
    """Return the last step: what to do next."""
    device: Device = request.app.state.device
    settings = (await run_sync(device.records.settings.load))[RECORD]
    return render(request, "first_start/done.html", **_clock(request), slot=SLOT, account=settings.account)


async def show_clock(request: Request) -> Response:
    """Return the result of the clock check so far."""
    return render(request, "first_start/clock.html", **_clock(request))


def _others(request: Request) -> list[PipelinePage]:
    """Return the pages of pipelines that can be set up instead of the device's own mail."""
    pages: list[PipelinePage] = request.app.state.pages
    return [page for page in pages if pipeline_text(page.name, "first_start_choice", request.state.language)]


def _password_page(request: Request, errors: dict[str, str], status: int = 200) -> Response:
    context: dict[str, Any] = {"errors": errors, "asks_for_code": not is_local(request.scope), "least": MIN_LENGTH}
    return render(request, "first_start/password.html", status, **context)


def _device_page(request: Request, values: dict[str, str], error: str, status: int = 200) -> Response:
    device: Device = request.app.state.device
    now = datetime.fromtimestamp(device.now(), UTC).astimezone()
    shown = now.strftime("%Y-%m-%d %H:%M")
    context: dict[str, Any] = {"values": values, "error": error, "time": shown, "zone": now.tzname() or "UTC"}
    return render(request, "first_start/device.html", status, **context)


def _slot_page(request: Request, values: dict[str, str], error: str, status: int = 200) -> Response:
    known = [(id_, provider.name) for id_, provider in presets().items()]
    paths = [" → ".join(menu_steps(slot, request.state.language)) for slot in slots_of(RECORD)]
    return render(request, "first_start/slot.html", status, values=values, error=error, providers=known, paths=paths)


def _clock(request: Request) -> dict[str, Any]:
    task = tasks_of(request.app.state).find(_CLOCK, ClockCheck)
    return {"running": task is not None and task.running, "clock_check": task.subject if task else ClockCheck()}


routes = [
    Route(FIRST_START, show_password),
    Route(FIRST_START, set_password, methods=["POST"]),
    Route(f"{FIRST_START}/device", show_device),
    Route(f"{FIRST_START}/device", set_device, methods=["POST"]),
    Route(f"{FIRST_START}/purpose", show_purpose),
    Route(f"{FIRST_START}/slot", show_slot),
    Route(f"{FIRST_START}/slot", set_slot, methods=["POST"]),
    Route(f"{FIRST_START}/done", show_done),
    Route(f"{FIRST_START}/clock", show_clock),
]
