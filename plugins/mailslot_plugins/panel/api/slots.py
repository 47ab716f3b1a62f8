"""``/api/slots``: the slots, and the settings of the records behind them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mailslot.service.json_documents import slot_rows
from mailslot.slots.overview import record_overview
from mailslot.slots.settings import KEYS, SECRETS
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.api.etag import etag, precondition
from mailslot_plugins.panel.api.json_schema import (
    STRING,
    Schema,
    closed_object_schema,
    list_of,
    nullable,
    schema_ref,
    setting_schema,
)
from mailslot_plugins.panel.api.operation import Operation, ResponseSpec, json_response
from mailslot_plugins.panel.api.path_parameters import slot_from_path
from mailslot_plugins.panel.permission import requested_by

if TYPE_CHECKING:
    from starlette.responses import Response

    from mailslot.slots.records import Records
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.api.operation import Call

ETAG_HEADER: Final = {"ETag": "The value for If-Match."}


_SECRET: Final = {**nullable(STRING), "writeOnly": True, "description": "Stored in the vault; null removes it."}


def _setting(name: str) -> Schema:
    found = setting_schema(KEYS[name])
    return {**found, "description": f"{found['description']} ({' and '.join(KEYS[name].protocols)})"}


CHANGE_SCHEMA: Final = closed_object_schema(
    {**{name: _setting(name) for name in KEYS}, **dict.fromkeys(SECRETS, _SECRET)}
)


async def list_slots(call: Call) -> Response:
    """Return all slots."""
    return json_response(await slot_rows(call.device.records, call.device.slots.slots))


async def show_slot(call: Call) -> Response:
    """Return one slot."""
    [row] = await slot_rows(call.device.records, [slot_from_path(call)])
    return json_response(row)


async def show_settings(call: Call) -> Response:
    """Return the settings of a slot's record."""
    document = await run_sync(_document, call.device.records, slot_from_path(call))
    return json_response(document, headers={"ETag": etag(document)})


async def change_settings(call: Call) -> Response:
    """Change the settings and secrets in the request."""
    slot, records = slot_from_path(call), call.device.records
    secrets = {name: _secret(call.body[name]) for name in SECRETS if name in call.body}
    values = {name: value for name, value in call.body.items() if name not in secrets}
    first = precondition(call.request, partial(_document, records, slot))
    change = partial(records.change, slot.record, values, secrets, before_write=first, role=requested_by(call.request))
    changed = await run_sync(change)
    document = await run_sync(_document, records, slot)
    remarks = {"notes": list(changed.notes), "dropped": list(changed.dropped)}
    return json_response({**document, **remarks}, headers={"ETag": etag(document)})


def _document(records: Records, slot: Slot) -> dict[str, Any]:
    return {"slot": slot.id, "record": slot.record, **record_overview(records, slot.record)}


def _secret(text: str | None) -> Secret | None:
    return None if text is None else Secret(text)


operations = (
    Operation(
        "GET",
        "/slots",
        list_slots,
        "List the slots and accounts.",
        {200: ResponseSpec("The slots.", list_of(schema_ref("Slot")))},
    ),
    Operation("GET", "/slots/{slot}", show_slot, "Show a slot.", {200: ResponseSpec("The slot.", schema_ref("Slot"))}),
    Operation(
        "GET",
        "/slots/{slot}/settings",
        show_settings,
        "Show the settings of the record behind a slot, and which secrets are set.",
        {200: ResponseSpec("The settings.", schema_ref("Settings"), headers=ETAG_HEADER)},
    ),
    Operation(
        "PATCH",
        "/slots/{slot}/settings",
        change_settings,
        "Change the given settings and secrets, all or none of them; null unsets. A password or client secret that "
        "would go to another server or token service afterwards is removed, unless it is given, too. Settings that "
        "can only be set on the device itself are refused with 403, unless they are unchanged.",
        {200: ResponseSpec("The new settings.", schema_ref("Settings"), headers=ETAG_HEADER)},
        body=CHANGE_SCHEMA,
        conflicts=True,
        conditional=True,
    ),
)
