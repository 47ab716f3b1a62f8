"""``/slots/{slot}/test``: the connection test, stage by stage as it goes, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync
from starlette.responses import Response
from starlette.routing import Route

from mailslot.diagnosis.catalogue import actor_name
from mailslot.diagnosis.history import History
from mailslot_plugins.panel.connection_test.history import MOST, picture
from mailslot_plugins.panel.connection_test.outcome import of_past, of_result
from mailslot_plugins.panel.connection_test.running import cancel_test, find_test, start_test
from mailslot_plugins.panel.render import device_of, redirect, render
from mailslot_plugins.panel.slots.place import others, places, slot_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from mailslot.service.device import Device
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.connection_test.outcome import Outcome

_ROWS = 10
"""Tests in the table."""


async def show(request: Request) -> Response:
    """Answer with the page."""
    slot = slot_of(request)
    return render(request, "connection_test/test.html", **await _context(request, slot))


async def start(request: Request) -> Response:
    """Begin a test, or join the one that goes on."""
    slot = slot_of(request)
    send = slot.protocol == "SMTP" and "send" in request.state.form
    start_test(request.app.state, slot, send=send)
    return redirect(request, f"/slots/{slot.id}/test")


async def cancel(request: Request) -> Response:
    """End the test that goes on."""
    slot = slot_of(request)
    cancel_test(request.app.state, slot)
    return redirect(request, f"/slots/{slot.id}/test")


async def show_progress(request: Request) -> Response:
    """Answer with the part of the page that changes by itself; with nothing where the browser has seen the newest."""
    slot = slot_of(request)
    piece = find_test(request.app.state, slot)
    if piece is not None and piece.running and request.query_params.get("seen") == str(piece.about.changes):
        return Response(status_code=204)
    return render(request, "connection_test/live.html", live=True, **await _context(request, slot))


async def tests_of(device: Device, slot: Slot, language: str) -> list[Outcome]:
    """Return the last tests of a slot's record, as many as the picture shows, the newest first.

    Args:
        device: the device.
        slot: which.
        language: one of the panel's.
    """
    return [of_past(past, slot.protocol, language) for past in await History(device.home).last(slot.record, MOST)]


async def _context(request: Request, slot: Slot) -> dict[str, Any]:
    device = device_of(request)
    language: str = request.state.language
    piece = find_test(request.app.state, slot)
    # Asked before the history is read: a test that ends meanwhile is shown with its place there, a moment later.
    running = piece is not None and piece.running
    tests = await tests_of(device, slot, language)
    settings = (await run_sync(device.records.settings.current)).records[slot.record]
    outcome = tests[0] if tests else None
    if piece is not None and piece.about.result is not None:
        newest = of_result(piece.about.result, slot.protocol, language)
        # Somebody may have tested with the command since.
        outcome = newest if outcome is None or newest.at >= outcome.at else outcome
    return {
        "slot": slot,
        "others": places(others(slot), language),
        "testing": None if piece is None else piece.about,
        "running": running,
        "cancelled": piece is not None and not running and piece.about.result is None,
        "outcome": outcome,
        "who": "" if outcome is None or outcome.said.actor is None else actor_name(outcome.said.actor, language),
        "with_token": settings.authentication == "oauth2",
        "tests": tests[:_ROWS],
        "picture": picture(tests),
    }


routes = [
    Route("/slots/{slot}/test", show),
    Route("/slots/{slot}/test", start, methods=["POST"]),
    Route("/slots/{slot}/test/cancel", cancel, methods=["POST"]),
    Route("/slots/{slot}/test/progress", show_progress),
]
