"""``/slots/{slot}``: the overview of a slot, and the form of its settings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.routing import Route

from mailslot.slots.settings_document import SettingsFileError
from mailslot_plugins.panel.connection_test.chart import make_chart
from mailslot_plugins.panel.connection_test.page import recent_tests
from mailslot_plugins.panel.connection_test.running_test import find_test
from mailslot_plugins.panel.pipelines import sections_of
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.sections.fields import section_name
from mailslot_plugins.panel.slots import copying, review
from mailslot_plugins.panel.slots.draft import Draft, needs_review
from mailslot_plugins.panel.slots.errors import changed_elsewhere, error_text, find_errors
from mailslot_plugins.panel.slots.form import make_form
from mailslot_plugins.panel.slots.form_input import read_form, untouched_form
from mailslot_plugins.panel.slots.labels import label, value_text
from mailslot_plugins.panel.slots.menu import sharing_slots, slot_of
from mailslot_plugins.panel.slots.names import slot_names
from mailslot_plugins.panel.slots.polling import poll_status, start_poll
from mailslot_plugins.panel.slots.stored import load_record
from mailslot_plugins.panel.token.state import token_state
from mailslot_plugins.panel.token.view import settings_of, sign_in_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.service.device import Device
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.slots.form_input import FormInput
    from mailslot_plugins.panel.slots.stored import StoredRecord
    from mailslot_plugins.panel.token.state import TokenState


async def show(request: Request) -> Response:
    """Return the slot's page; with the values entered before, if the person returns from the review."""
    slot = slot_of(request)
    try:
        stored = await _stored(request, slot)
    except SettingsFileError as error:
        return render(request, "slots/broken.html", 503, slot=slot, lines=str(error).splitlines())
    draft = review.find_draft(request, slot) if "again" in request.query_params else None
    return await _page(request, slot, stored, untouched_form(stored) if draft is None else draft.form_input)


async def show_fields(request: Request) -> Response:
    """Return the fields for another provider; nothing is saved."""
    slot = slot_of(request)
    stored = await _stored(request, slot)
    form_input = replace(_form_input(request, slot, stored), applied="").with_preset().with_proposals().with_former()
    form = await run_sync(make_form, form_input, stored, slot.protocol, request.state.language)
    return render(request, "slots/fields.html", slot=slot, form=form, live=True)


async def save(request: Request) -> Response:
    """Save the form, or show a review first if it changes anything else."""
    slot = slot_of(request)
    device = device_of(request)
    stored = await _stored(request, slot)
    form_input = _form_input(request, slot, stored).with_preset()
    elsewhere = changed_elsewhere(form_input, stored)
    wrong = await run_sync(find_errors, device.records, slot.record, form_input, stored)
    both = [key for key, changed_here in elsewhere.items() if changed_here]
    if wrong or both:
        errors = {key: error_text(error, request.state.language) for key, error in wrong.items()}
        for key in both:
            value = value_text(key, stored.texts[key], request.state.language) or text(request, "slots", "not_set")
            errors[key] = text(request, "slots", "changed_both", value=value)
        return await _page(request, slot, stored, form_input, errors, status=422 if wrong else 409, elsewhere=elsewhere)
    if not form_input.changes and not form_input.secrets:
        return redirect(request, f"/slots/{slot.id}", text(request, "slots", "no_change"), "warning")
    drops = await run_sync(device.records.dropped_secrets, slot.record, form_input.changes, form_input.secrets)
    # The page says beside the button which slots it is for; the first settings of all of them change nothing else.
    shared = bool(sharing_slots(slot)) and stored.is_set
    if needs_review(form_input, stored, shared=shared, elsewhere=bool(elsewhere), drops=bool(drops)):
        return review.open_review(request, slot, Draft(form_input, tuple(elsewhere), stored.texts))
    return await review.apply_change(request, slot, form_input, stored)


async def check_stored(request: Request) -> Response:
    """Check for mail now."""
    slot = _pop_slot(request)
    start_poll(request.app.state, slot)
    return redirect(request, f"/slots/{slot.id}#mail")


async def show_polls(request: Request) -> Response:
    """Return the live part of the page about polling."""
    slot = _pop_slot(request)
    settings = await settings_of(device_of(request), slot)
    mail = await poll_status(request.app.state, slot, settings.check_interval, request.state.language)
    return render(request, "slots/polls.html", slot=slot, mail=mail)


async def _page(
    request: Request,
    slot: Slot,
    stored: StoredRecord,
    form_input: FormInput,
    errors: Mapping[str, str] | None = None,
    *,
    status: int = 200,
    elsewhere: Mapping[str, bool] | None = None,
) -> Response:
    device = device_of(request)
    language: str = request.state.language
    # The page shows the changes of others together with the values entered here.
    form_input = form_input.rebased(stored)
    task = find_test(request.app.state, slot)
    testing = task is not None and task.running
    tests = await recent_tests(device, slot, language)
    return render(
        request,
        "slots/slot.html",
        status,
        slot=slot,
        others=slot_names(sharing_slots(slot), language),
        token=await _token(device, slot),
        options=await run_sync(sign_in_options, device.records, slot.record, stored.settings, request.url),
        settings=stored.settings,
        form=await run_sync(make_form, form_input, stored, slot.protocol, language, errors),
        errors=[
            (key, label(key, slot.protocol, language) if key else "", sentence)
            for key, sentence in (errors or {}).items()
        ],
        elsewhere=[label(key, slot.protocol, language) for key in elsewhere or ()],
        testing=testing,
        tests=tests,
        chart=make_chart(tests),
        mail=await poll_status(request.app.state, slot, stored.settings.check_interval, language)
        if slot.protocol == "POP"
        else None,
        copy_targets=await copying.copy_targets(request, slot, stored.settings),
        sections=[(name, section_name(name, language)) for name in sections_of(slot.record)],
    )


async def _stored(request: Request, slot: Slot) -> StoredRecord:
    device = device_of(request)
    return await run_sync(load_record, device.records, slot.record)


async def _token(device: Device, slot: Slot) -> TokenState | None:
    """Return the token's state; None if the settings file is broken, which the page says elsewhere."""
    try:
        return await token_state(device, slot.record)
    except SettingsFileError:
        return None


def _form_input(request: Request, slot: Slot, stored: StoredRecord) -> FormInput:
    return read_form(request.state.form, stored, slot.protocol)


def _pop_slot(request: Request) -> Slot:
    slot = slot_of(request)
    if slot.protocol != "POP":
        raise HTTPException(404)
    return slot


routes = [
    Route("/slots/{slot}", show),
    Route("/slots/{slot}", save, methods=["POST"]),
    Route("/slots/{slot}/fields", show_fields, methods=["POST"]),
    Route("/slots/{slot}/poll", check_stored, methods=["POST"]),
    Route("/slots/{slot}/mail", show_polls),
    *copying.routes,
    *review.routes,
]
