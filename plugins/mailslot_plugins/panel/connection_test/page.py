"""``/slots/{slot}/test``: the connection test with its progress, and the previous tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync
from starlette.responses import Response
from starlette.routing import Route

from mailslot.diagnosis.catalogue import actor_name
from mailslot.diagnosis.history import History
from mailslot.diagnosis.tested_settings import tested_settings
from mailslot_plugins.panel.connection_test.chart import MAX_BARS, make_chart
from mailslot_plugins.panel.connection_test.outcome import outcome_of_past_test, outcome_of_result
from mailslot_plugins.panel.connection_test.running_test import cancel_test, find_test, start_test
from mailslot_plugins.panel.render import device_of, redirect, render
from mailslot_plugins.panel.slots.menu import sharing_slots, slot_of
from mailslot_plugins.panel.slots.names import slot_names

if TYPE_CHECKING:
    from starlette.requests import Request

    from mailslot.service.device import Device
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.connection_test.outcome import Outcome

_ROWS = 10
"""Tests in the table."""


async def show(request: Request) -> Response:
    """Return the page."""
    slot = slot_of(request)
    return render(request, "connection_test/test.html", **await test_context(request, slot))


async def start(request: Request) -> Response:
    """Start a test, unless one is running."""
    slot = slot_of(request)
    send = slot.protocol == "SMTP" and "send" in request.state.form
    start_test(request.app.state, slot, send=send)
    return redirect(request, f"/slots/{slot.id}/test")


async def cancel(request: Request) -> Response:
    """Cancel the running test."""
    slot = slot_of(request)
    cancel_test(request.app.state, slot)
    return redirect(request, f"/slots/{slot.id}/test")


async def show_progress(request: Request) -> Response:
    """Return the live part of the page; nothing if the browser has the newest version."""
    slot = slot_of(request)
    task = find_test(request.app.state, slot)
    if task is not None and task.running and request.query_params.get("seen") == str(task.subject.revision):
        return Response(status_code=204)
    template = "connection_test/brief.html" if "brief" in request.query_params else "connection_test/live.html"
    return render(request, template, live=True, **await test_context(request, slot))


async def recent_tests(device: Device, slot: Slot, language: str) -> list[Outcome]:
    """Return the last tests of a slot's record, as many as the chart shows, the newest first."""
    current = await run_sync(tested_settings, device.records, slot.record)
    return [
        outcome_of_past_test(past, slot.protocol, language, current)
        for past in await History(device.records.place).last(slot.record, MAX_BARS)
    ]


async def test_context(request: Request, slot: Slot) -> dict[str, Any]:
    """Return the context of the page, and of the part of it that the token's page shows."""
    device = device_of(request)
    language: str = request.state.language
    task = find_test(request.app.state, slot)
    # Checked before the history is read: a test that ends in between is shown at the next update.
    running = task is not None and task.running
    tests = await recent_tests(device, slot, language)
    settings = (await run_sync(device.records.settings.current)).records[slot.record]
    outcome = tests[0] if tests else None
    if task is not None and task.subject.result is not None:
        current = await run_sync(tested_settings, device.records, slot.record)
        newest = outcome_of_result(task.subject.result, slot.protocol, language, current)
        # The command may have run a newer test.
        outcome = newest if outcome is None or newest.at >= outcome.at else outcome
    return {
        "slot": slot,
        "others": slot_names(sharing_slots(slot), language),
        "testing": None if task is None else task.subject,
        "running": running,
        "cancelled": task is not None and not running and task.subject.result is None,
        "outcome": outcome,
        "who": ""
        if outcome is None or outcome.explanation.actor is None
        else actor_name(outcome.explanation.actor, language),
        "with_token": settings.authentication == "oauth2",
        "tests": tests[:_ROWS],
        "chart": make_chart(tests),
    }


routes = [
    Route("/slots/{slot}/test", show),
    Route("/slots/{slot}/test", start, methods=["POST"]),
    Route("/slots/{slot}/test/cancel", cancel, methods=["POST"]),
    Route("/slots/{slot}/test/progress", show_progress),
]
