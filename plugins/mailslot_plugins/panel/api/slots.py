"""``/api/slots``: the slots, and the settings of the records behind them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mailslot.service.json_documents import slot_rows
from mailslot.slots.overview import record_overview
from mailslot.slots.settings import KEYS, SECRETS
from mailslot.slots.slot import SLOTS
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.api.etag import etag, unchanged
from mailslot_plugins.panel.api.operation import Gives, Operation, answer
from mailslot_plugins.panel.api.places import slot_in
from mailslot_plugins.panel.api.schema import TEXT, Schema, entry, list_of, maybe, ref, setting
from mailslot_plugins.panel.permission import setter

if TYPE_CHECKING:
    from starlette.responses import Response

    from mailslot.slots.records import Records
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.api.operation import Call

TAG: Final = {"ETag": "What If-Match takes."}


_SECRET: Final = {**maybe(TEXT), "writeOnly": True, "description": "Goes into the vault; null removes it."}


def _setting(name: str) -> Schema:
    found = setting(KEYS[name])
    return {**found, "description": f"{found['description']} ({' and '.join(KEYS[name].protocols)})"}


CHANGE: Final = entry({**{name: _setting(name) for name in KEYS}, **dict.fromkeys(SECRETS, _SECRET)})


async def list_slots(call: Call) -> Response:
    """Answer with every slot."""
    return answer(await slot_rows(call.device.records, SLOTS))


async def show_slot(call: Call) -> Response:
    """Answer with one slot."""
    [row] = await slot_rows(call.device.records, [slot_in(call)])
    return answer(row)


async def show_settings(call: Call) -> Response:
    """Answer with the settings of a slot's record."""
    document = await run_sync(_document, call.device.records, slot_in(call))
    return answer(document, headers={"ETag": etag(document)})


async def change_settings(call: Call) -> Response:
    """Change what was named."""
    slot, records = slot_in(call), call.device.records
    secrets = {name: _secret(call.body[name]) for name in SECRETS if name in call.body}
    values = {name: value for name, value in call.body.items() if name not in secrets}
    first = unchanged(call.request, partial(_document, records, slot))
    change = partial(records.change, slot.record, values, secrets, before_write=first, role=setter(call.request))
    changed = await run_sync(change)
    document = await run_sync(_document, records, slot)
    said = {"notes": list(changed.notes), "dropped": list(changed.dropped)}
    return answer({**document, **said}, headers={"ETag": etag(document)})


def _document(records: Records, slot: Slot) -> dict[str, Any]:
    return {"slot": slot.id, "record": slot.record, **record_overview(records, slot.record)}


def _secret(text: str | None) -> Secret | None:
    return None if text is None else Secret(text)


operations = (
    Operation("GET", "/slots", list_slots, "List the slots.", {200: Gives("The slots.", list_of(ref("Slot")))}),
    Operation("GET", "/slots/{slot}", show_slot, "Show a slot.", {200: Gives("The slot.", ref("Slot"))}),
    Operation(
        "GET",
        "/slots/{slot}/settings",
        show_settings,
        "Show the settings of the record behind a slot; of secrets, whether they are set.",
        {200: Gives("The settings.", ref("Settings"), headers=TAG)},
    ),
    Operation(
        "PATCH",
        "/slots/{slot}/settings",
        change_settings,
        "Change settings and secrets: those that are named, all or none; null unsets. A password or client secret that "
        "would go to another server or token service afterwards is removed, unless it is named, too. What is set on "
        "the device itself only is refused with 403, unless it is as it was.",
        {200: Gives("The settings as they are now.", ref("Settings"), headers=TAG)},
        body=CHANGE,
        conflicts=True,
        guarded=True,
    ),
)
