"""``/api/slots/{slot}/test`` and ``/poll``: connection tests and polls, which run in the background."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mailslot.service.json_documents import poll_document
from mailslot_plugins.panel.api.json_schema import BOOLEAN, closed_object_schema, schema_ref
from mailslot_plugins.panel.api.operation import Operation, ResponseSpec, json_response
from mailslot_plugins.panel.api.path_parameters import slot_from_path
from mailslot_plugins.panel.connection_test.running_test import find_test, start_test
from mailslot_plugins.panel.problem import ProblemError, problem_document
from mailslot_plugins.panel.slots.polling import find_poll, start_poll

if TYPE_CHECKING:
    from starlette.responses import Response

    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.api.operation import Call
    from mailslot_plugins.panel.background import BackgroundTask
    from mailslot_plugins.panel.connection_test.running_test import RunningTest
    from mailslot_plugins.panel.slots.polling import PollRun


async def test_slot(call: Call) -> Response:
    """Start a connection test, unless one is running."""
    slot = slot_from_path(call)
    send = slot.protocol == "SMTP" and bool(call.body.get("send"))
    task = start_test(call.request.app.state, slot, send=send)
    return json_response(_test(slot, task, call.language), 202, {"Location": f"/api/slots/{slot.id}/test"})


async def show_test(call: Call) -> Response:
    """Return the progress or the result of the newest test."""
    slot = slot_from_path(call)
    task = find_test(call.request.app.state, slot)
    if task is None:
        raise ProblemError(404, "This slot has not been tested here since the device was started.", key="slot")
    return json_response(_test(slot, task, call.language))


async def poll_slot(call: Call) -> Response:
    """Start a poll, unless one is running."""
    slot = slot_from_path(call)
    task = start_poll(call.request.app.state, slot)
    return json_response(_poll(slot, task), 202, {"Location": f"/api/slots/{slot.id}/poll"})


async def show_poll(call: Call) -> Response:
    """Return the progress or the result of the newest poll."""
    slot = slot_from_path(call)
    task = find_poll(call.request.app.state, slot)
    if task is None:
        raise ProblemError(404, "This slot has not been polled here since the device was started.", key="slot")
    return json_response(_poll(slot, task))


def _test(slot: Slot, task: BackgroundTask[RunningTest], language: str) -> dict[str, Any]:
    testing = task.subject
    return {
        "slot": slot.id,
        "record": slot.record,
        "running": task.running,
        "send": testing.send,
        "stages": [
            {"name": each.name, "ok": each.ok, "seconds": round(each.seconds, 4), "note": each.note}
            for each in testing.stages
        ],
        "result": None if testing.result is None else replace(testing.result, slot=slot.id).as_json(language),
    }


def _poll(slot: Slot, task: BackgroundTask[PollRun]) -> dict[str, Any]:
    check = task.subject
    return {
        "slot": slot.id,
        "record": slot.record,
        "running": task.running,
        "result": None if check.report is None else poll_document(slot, check.report),
        "problem": None if check.error is None else problem_document(check.error),
    }


_PROGRESS: Final = {"Location": "The address of its progress."}

operations = (
    Operation(
        "POST",
        "/slots/{slot}/test",
        test_slot,
        "Test the connection of a slot.",
        {202: ResponseSpec("Its progress.", schema_ref("Test"), headers=_PROGRESS)},
        body=closed_object_schema(
            {"send": {**BOOLEAN, "description": "Whether to also mail a message to the slot's own address (SMTP)."}}
        ),
    ),
    Operation(
        "GET",
        "/slots/{slot}/test",
        show_test,
        "Show the progress of the test: the stages so far, then the result.",
        {200: ResponseSpec("Its progress.", schema_ref("Test"))},
    ),
    Operation(
        "POST",
        "/slots/{pop_slot}/poll",
        poll_slot,
        "Check for mail now.",
        {202: ResponseSpec("Its progress.", schema_ref("Poll"), headers=_PROGRESS)},
    ),
    Operation(
        "GET",
        "/slots/{pop_slot}/poll",
        show_poll,
        "Show the progress of the poll, then its result.",
        {200: ResponseSpec("Its progress.", schema_ref("Poll"))},
    ),
)
