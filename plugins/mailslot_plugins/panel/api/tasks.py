"""``/api/slots/{slot}/test`` and ``/poll``: the connection test and the look for mail, which go on by themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mailslot.service.json_documents import poll_document
from mailslot_plugins.panel.api.operation import Gives, Operation, answer
from mailslot_plugins.panel.api.places import slot_in
from mailslot_plugins.panel.api.schema import FLAG, entry, ref
from mailslot_plugins.panel.connection_test.running import find_test, start_test
from mailslot_plugins.panel.problem import NotDoneError, problem_document
from mailslot_plugins.panel.slots.polling import find_check, start_check

if TYPE_CHECKING:
    from starlette.responses import Response

    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.api.operation import Call
    from mailslot_plugins.panel.background import BackgroundTask
    from mailslot_plugins.panel.connection_test.running import Testing
    from mailslot_plugins.panel.slots.polling import Check


async def test_slot(call: Call) -> Response:
    """Begin a connection test, or join the one that goes on."""
    slot = slot_in(call)
    send = slot.protocol == "SMTP" and bool(call.body.get("send"))
    piece = start_test(call.request.app.state, slot, send=send)
    return answer(_test(slot, piece, call.language), 202, {"Location": f"/api/slots/{slot.id}/test"})


async def show_test(call: Call) -> Response:
    """Answer with how the newest test goes, or went."""
    slot = slot_in(call)
    piece = find_test(call.request.app.state, slot)
    if piece is None:
        raise NotDoneError(404, "Nobody has tested this slot here since the device was started.", key="slot")
    return answer(_test(slot, piece, call.language))


async def poll_slot(call: Call) -> Response:
    """Begin to look for mail, or join the look that goes on."""
    slot = slot_in(call)
    piece = start_check(call.request.app.state, slot)
    return answer(_poll(slot, piece), 202, {"Location": f"/api/slots/{slot.id}/poll"})


async def show_poll(call: Call) -> Response:
    """Answer with how the newest look goes, or went."""
    slot = slot_in(call)
    piece = find_check(call.request.app.state, slot)
    if piece is None:
        raise NotDoneError(404, "Nobody has looked for mail here since the device was started.", key="slot")
    return answer(_poll(slot, piece))


def _test(slot: Slot, piece: BackgroundTask[Testing], language: str) -> dict[str, Any]:
    testing = piece.about
    return {
        "slot": slot.id,
        "record": slot.record,
        "running": piece.running,
        "send": testing.send,
        "stages": [
            {"name": each.name, "ok": each.ok, "seconds": round(each.seconds, 4), "note": each.note}
            for each in testing.stages
        ],
        "result": None if testing.result is None else replace(testing.result, slot=slot.id).as_json(language),
    }


def _poll(slot: Slot, piece: BackgroundTask[Check]) -> dict[str, Any]:
    check = piece.about
    return {
        "slot": slot.id,
        "record": slot.record,
        "running": piece.running,
        "result": None if check.report is None else poll_document(slot, check.report),
        "problem": None if check.error is None else problem_document(check.error),
    }


_LATER: Final = {"Location": "Where to ask how it goes on."}

operations = (
    Operation(
        "POST",
        "/slots/{slot}/test",
        test_slot,
        "Test the connection of a slot.",
        {202: Gives("How it goes.", ref("Test"), headers=_LATER)},
        body=entry(
            {"send": {**FLAG, "description": "Whether to mail a message to the slot's own address, too (SMTP)."}}
        ),
    ),
    Operation(
        "GET",
        "/slots/{slot}/test",
        show_test,
        "Show how the test goes: the stages so far, then the result.",
        {200: Gives("How it goes.", ref("Test"))},
    ),
    Operation(
        "POST",
        "/slots/{pop_slot}/poll",
        poll_slot,
        "Look for mail now.",
        {202: Gives("How it goes.", ref("Poll"), headers=_LATER)},
    ),
    Operation(
        "GET",
        "/slots/{pop_slot}/poll",
        show_poll,
        "Show how the look for mail goes, then what came of it.",
        {200: Gives("How it goes.", ref("Poll"))},
    ),
)
