"""``/slots/{slot}/review``: shows all effects of a change before it is saved."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.routing import Route

from mailslot.errors import InputError
from mailslot.slots.normalization import MICROSOFT_NOTE
from mailslot_plugins.panel.permission import requested_by
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.security.session import Notice
from mailslot_plugins.panel.slots.draft import Draft, change_rows, difference, touches_token
from mailslot_plugins.panel.slots.errors import error_text
from mailslot_plugins.panel.slots.labels import label
from mailslot_plugins.panel.slots.menu import sharing_slots, slot_of
from mailslot_plugins.panel.slots.names import slot_names
from mailslot_plugins.panel.slots.stored import load_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.slots.form_input import FormInput
    from mailslot_plugins.panel.slots.stored import StoredRecord


def open_review(request: Request, slot: Slot, draft: Draft) -> Response:
    """Store a change in the session, and redirect to its review."""
    request.state.session.data[_key(slot)] = draft
    return redirect(request, f"/slots/{slot.id}/review")


def find_draft(request: Request, slot: Slot) -> Draft | None:
    """Return the change that waits for confirmation; None if there is none."""
    draft = request.state.session.data.get(_key(slot))
    return draft if isinstance(draft, Draft) else None


async def show(request: Request) -> Response:
    """Return the review of the change."""
    slot, draft = slot_of(request), find_draft(request, slot_of(request))
    if draft is None:
        return redirect(request, f"/slots/{slot.id}")
    device = device_of(request)
    language: str = request.state.language
    stored = await run_sync(load_record, device.records, slot.record)
    try:
        dropped = await run_sync(
            device.records.dropped_secrets, slot.record, draft.form_input.changes, draft.form_input.secrets
        )
        changes = await run_sync(change_rows, device.records, slot.record, draft.form_input, stored, dropped, language)
    except InputError as error:
        # It was allowed before; somebody else has changed other settings since.
        return redirect(request, f"/slots/{slot.id}?again=1", error_text(error, language), "error")
    return render(
        request,
        "slots/review.html",
        slot=slot,
        others=slot_names(sharing_slots(slot), language),
        rows=changes,
        elsewhere=[label(key, slot.protocol, language) for key in draft.elsewhere],
        touches_token=touches_token(draft.form_input, stored),
        dropped=drop_texts(request, dropped),
    )


async def confirm(request: Request) -> Response:
    """Save the change, unless somebody else has changed the record since."""
    slot, draft = slot_of(request), find_draft(request, slot_of(request))
    if draft is None:
        return redirect(request, f"/slots/{slot.id}", text(request, "slots", "no_draft"), "warning")
    stored = await run_sync(load_record, device_of(request).records, slot.record)
    if stored.texts != draft.before:
        return await _review_again(request, slot, draft)
    return await apply_change(request, slot, draft.form_input, stored)


async def apply_change(request: Request, slot: Slot, form_input: FormInput, stored: StoredRecord) -> Response:
    """Save a change, and report the result on the slot's page; if somebody else has changed the record, review it.

    Args:
        request: the request.
        slot: the slot.
        form_input: the change.
        stored: the record to which the change was made.
    """
    device = device_of(request)
    language: str = request.state.language

    def check() -> None:
        if load_record(device.records, slot.record).texts != stored.texts:
            raise _ChangedElsewhereError

    change = partial(
        device.records.change,
        slot.record,
        form_input.changes,
        form_input.secrets,
        before_write=check,
        role=requested_by(request),
    )
    try:
        changed = await run_sync(change)
    except _ChangedElsewhereError:
        return await _review_again(request, slot, Draft(form_input, (), stored.texts))
    except InputError as error:
        request.state.session.data[_key(slot)] = Draft(form_input, (), stored.texts)
        return redirect(request, f"/slots/{slot.id}?again=1", error_text(error, language), "error")
    request.state.session.data.pop(_key(slot), None)
    notices: list[Notice] = request.state.session.notices
    shared = slot_names(sharing_slots(slot), language)
    saved = text(request, "slots", "saved_shared", places=shared) if shared else text(request, "slots", "saved")
    notices.append(Notice("done", saved))
    entered = form_input.settings(stored.settings, slot.protocol)
    otherwise = difference(entered, changed.settings, slot.protocol, language)
    warnings = [text(request, "slots", "understood", label=row.label, value=row.after) for row in otherwise]
    warnings += drop_texts(request, changed.dropped)
    notices += [Notice("warning", each) for each in warnings]
    if MICROSOFT_NOTE in changed.notes:
        notices.append(Notice("warning", text(request, "slots", "microsoft_note")))
    return redirect(request, f"/slots/{slot.id}")


async def _review_again(request: Request, slot: Slot, draft: Draft) -> Response:
    """Show the review of a change once more, since somebody else has changed the record."""
    stored = await run_sync(load_record, device_of(request).records, slot.record)
    request.state.session.data[_key(slot)] = Draft(draft.form_input, draft.elsewhere, stored.texts)
    return redirect(request, f"/slots/{slot.id}/review", text(request, "slots", "changed_again"), "warning")


def drop_texts(request: Request, dropped: Iterable[str]) -> list[str]:
    """Return the texts about secrets that a change removes, for before and after it."""
    return [text(request, "slots", f"dropped_{name}") for name in dropped]


class _ChangedElsewhereError(Exception):
    """Somebody else has changed the record meanwhile."""


def _key(slot: Slot) -> str:
    return f"settings of {slot.record}"


routes = [
    Route("/slots/{slot}/review", show),
    Route("/slots/{slot}/review", confirm, methods=["POST"]),
]
