"""``/slots/{slot}``: a slot at a glance, and the form of its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.routing import Route

from mailslot.slots.settings_document import SettingsFileError
from mailslot_plugins.panel.connection_test.history import picture
from mailslot_plugins.panel.connection_test.page import tests_of
from mailslot_plugins.panel.connection_test.running import find_test
from mailslot_plugins.panel.pipelines import sections_of
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.sections.fields import section_name
from mailslot_plugins.panel.slots import review
from mailslot_plugins.panel.slots.check import changed_elsewhere, faults, sentence
from mailslot_plugins.panel.slots.draft import Draft, asks
from mailslot_plugins.panel.slots.entry import read_entry, unchanged
from mailslot_plugins.panel.slots.form import make_form
from mailslot_plugins.panel.slots.labels import label, shown
from mailslot_plugins.panel.slots.place import others, places, slot_of
from mailslot_plugins.panel.slots.polling import polls, start_check
from mailslot_plugins.panel.slots.stored import stored
from mailslot_plugins.panel.token.state import token_state
from mailslot_plugins.panel.token.view import settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.service.device import Device
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.slots.entry import Entry
    from mailslot_plugins.panel.slots.stored import Stored
    from mailslot_plugins.panel.token.state import TokenState


async def show(request: Request) -> Response:
    """Answer with the slot; with what was entered before, where somebody comes back from the review."""
    slot = slot_of(request)
    try:
        now = await _stored(request, slot)
    except SettingsFileError as error:
        return render(request, "slots/broken.html", 503, slot=slot, lines=str(error).splitlines())
    draft = review.find(request, slot) if "again" in request.query_params else None
    return await _page(request, slot, now, unchanged(now) if draft is None else draft.entry)


async def show_fields(request: Request) -> Response:
    """Answer with the fields as they are once another provider is chosen; nothing is kept."""
    slot = slot_of(request)
    now = await _stored(request, slot)
    entry = _entry(request, slot, now).with_preset().with_former()
    form = await run_sync(make_form, entry, now, slot.protocol, request.state.language)
    return render(request, "slots/fields.html", slot=slot, form=form, live=True)


async def save(request: Request) -> Response:
    """Keep what was entered, once it was shown what else that changes."""
    slot = slot_of(request)
    device = device_of(request)
    now = await _stored(request, slot)
    entry = _entry(request, slot, now).with_preset()
    elsewhere = changed_elsewhere(entry, now)
    wrong = await run_sync(faults, device.records, slot.record, entry, now)
    both = [key for key, mine in elsewhere.items() if mine]
    if wrong or both:
        errors = {key: sentence(error, request.state.language) for key, error in wrong.items()}
        for key in both:
            value = shown(key, now.texts[key], request.state.language) or text(request, "slots", "not_set")
            errors[key] = text(request, "slots", "changed_both", value=value)
        return await _page(request, slot, now, entry, errors, status=422 if wrong else 409, elsewhere=elsewhere)
    if not entry.changes and not entry.secrets:
        return redirect(request, f"/slots/{slot.id}", text(request, "slots", "no_change"), "warning")
    drops = await run_sync(device.records.dropped_secrets, slot.record, entry.changes, entry.secrets)
    if asks(entry, now, shared=bool(others(slot)), elsewhere=bool(elsewhere), drops=bool(drops)):
        return review.ask(request, slot, Draft(entry, tuple(elsewhere), now.texts))
    return await review.keep(request, slot, entry, now)


async def check_now(request: Request) -> Response:
    """Look for mail now."""
    slot = _pop_slot(request)
    start_check(request.app.state, slot)
    return redirect(request, f"/slots/{slot.id}#mail")


async def show_polls(request: Request) -> Response:
    """Answer with what there is to say of looking for mail, which changes by itself."""
    slot = _pop_slot(request)
    settings = await settings_of(device_of(request), slot)
    mail = await polls(request.app.state, slot, settings.check_interval, request.state.language)
    return render(request, "slots/polls.html", slot=slot, mail=mail)


async def _page(
    request: Request,
    slot: Slot,
    now: Stored,
    entry: Entry,
    errors: Mapping[str, str] | None = None,
    *,
    status: int = 200,
    elsewhere: Mapping[str, bool] | None = None,
) -> Response:
    device = device_of(request)
    language: str = request.state.language
    # What others have changed is what the page shows from now on, beside what was entered here.
    entry = entry.over(now)
    tests = await tests_of(device, slot, language)
    piece = find_test(request.app.state, slot)
    return render(
        request,
        "slots/slot.html",
        status,
        slot=slot,
        others=places(others(slot), language),
        token=await _token(device, slot),
        settings=now.settings,
        form=await run_sync(make_form, entry, now, slot.protocol, language, errors),
        errors={label(key, slot.protocol, language) if key else "": said for key, said in (errors or {}).items()},
        elsewhere=[label(key, slot.protocol, language) for key in elsewhere or ()],
        testing=piece is not None and piece.running,
        tests=tests,
        picture=picture(tests),
        mail=await polls(request.app.state, slot, now.settings.check_interval, language)
        if slot.protocol == "POP"
        else None,
        sections=[(name, section_name(name, language)) for name in sections_of(slot.record)],
    )


async def _stored(request: Request, slot: Slot) -> Stored:
    device = device_of(request)
    return await run_sync(stored, device.records, slot.record)


async def _token(device: Device, slot: Slot) -> TokenState | None:
    """Return the token's state; None where no settings hold, which is said elsewhere on the page."""
    try:
        return await token_state(device, slot.record)
    except SettingsFileError:
        return None


def _entry(request: Request, slot: Slot, now: Stored) -> Entry:
    return read_entry(request.state.form, now, slot.protocol)


def _pop_slot(request: Request) -> Slot:
    slot = slot_of(request)
    if slot.protocol != "POP":
        raise HTTPException(404)
    return slot


routes = [
    Route("/slots/{slot}", show),
    Route("/slots/{slot}", save, methods=["POST"]),
    Route("/slots/{slot}/fields", show_fields, methods=["POST"]),
    Route("/slots/{slot}/poll", check_now, methods=["POST"]),
    Route("/slots/{slot}/mail", show_polls),
    *review.routes,
]
