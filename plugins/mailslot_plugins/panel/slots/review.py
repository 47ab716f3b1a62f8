"""``/slots/{slot}/review``: what saving will change, and where else, before it is done."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.routing import Route

from mailslot.errors import InputError
from mailslot.slots.normalization import MICROSOFT_NOTE
from mailslot_plugins.panel.permission import setter
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.security.session import Notice
from mailslot_plugins.panel.slots.check import sentence
from mailslot_plugins.panel.slots.draft import Draft, difference, rows, touches_token
from mailslot_plugins.panel.slots.labels import label
from mailslot_plugins.panel.slots.place import others, places, slot_of
from mailslot_plugins.panel.slots.stored import stored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.slots.entry import Entry
    from mailslot_plugins.panel.slots.stored import Stored


def ask(request: Request, slot: Slot, draft: Draft) -> Response:
    """Remember a change in the session, and send the browser to where it is shown."""
    request.state.session.data[_key(slot)] = draft
    return redirect(request, f"/slots/{slot.id}/review")


def find(request: Request, slot: Slot) -> Draft | None:
    """Return the change that waits; None where there is none."""
    draft = request.state.session.data.get(_key(slot))
    return draft if isinstance(draft, Draft) else None


async def show(request: Request) -> Response:
    """Answer with what would change."""
    slot, draft = slot_of(request), find(request, slot_of(request))
    if draft is None:
        return redirect(request, f"/slots/{slot.id}")
    device = device_of(request)
    language: str = request.state.language
    now = await run_sync(stored, device.records, slot.record)
    try:
        dropped = await run_sync(device.records.dropped_secrets, slot.record, draft.entry.changes, draft.entry.secrets)
        changes = await run_sync(rows, device.records, slot.record, draft.entry, now, dropped, language)
    except InputError as error:
        # Allowed a moment ago; somebody has changed something else since.
        return redirect(request, f"/slots/{slot.id}?again=1", sentence(error, language), "error")
    return render(
        request,
        "slots/review.html",
        slot=slot,
        others=places(others(slot), language),
        rows=changes,
        elsewhere=[label(key, slot.protocol, language) for key in draft.elsewhere],
        touches_token=touches_token(draft.entry, now),
        dropped=drop_texts(request, dropped),
    )


async def confirm(request: Request) -> Response:
    """Make the change, unless somebody else was quicker."""
    slot, draft = slot_of(request), find(request, slot_of(request))
    if draft is None:
        return redirect(request, f"/slots/{slot.id}", text(request, "slots", "no_draft"), "warning")
    now = await run_sync(stored, device_of(request).records, slot.record)
    if now.texts != draft.before:
        request.state.session.data[_key(slot)] = Draft(draft.entry, draft.elsewhere, now.texts)
        return redirect(request, f"/slots/{slot.id}/review", text(request, "slots", "changed_again"), "warning")
    return await keep(request, slot, draft.entry, now)


async def keep(request: Request, slot: Slot, entry: Entry, now: Stored) -> Response:
    """Make a change, and say on the slot's page what became of it.

    Args:
        request: what was asked.
        slot: through which slot.
        entry: what was entered.
        now: what was kept before.
    """
    device = device_of(request)
    language: str = request.state.language
    change = partial(device.records.change, slot.record, entry.changes, entry.secrets, role=setter(request))
    try:
        changed = await run_sync(change)
    except InputError as error:
        request.state.session.data[_key(slot)] = Draft(entry, (), now.texts)
        return redirect(request, f"/slots/{slot.id}?again=1", sentence(error, language), "error")
    request.state.session.data.pop(_key(slot), None)
    notices: list[Notice] = request.state.session.notices
    shared = places(others(slot), language)
    saved = text(request, "slots", "saved_shared", places=shared) if shared else text(request, "slots", "saved")
    notices.append(Notice("done", saved))
    entered = entry.settings(now.settings, slot.protocol)
    otherwise = difference(entered, changed.settings, slot.protocol, language)
    said = [text(request, "slots", "understood", label=row.label, value=row.after) for row in otherwise]
    said += drop_texts(request, changed.dropped)
    notices += [Notice("warning", each) for each in said]
    if MICROSOFT_NOTE in changed.notes:
        notices.append(Notice("warning", text(request, "slots", "microsoft_note")))
    return redirect(request, f"/slots/{slot.id}")


def drop_texts(request: Request, dropped: Iterable[str]) -> list[str]:
    """Return what is said of secrets that a change drops, before and after it is made."""
    return [text(request, "slots", f"dropped_{name}") for name in dropped]


def _key(slot: Slot) -> str:
    return f"settings of {slot.record}"


routes = [
    Route("/slots/{slot}/review", show),
    Route("/slots/{slot}/review", confirm, methods=["POST"]),
]
