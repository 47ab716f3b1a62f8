"""``/api/devices``, ``/api/unknown-devices``, ``/api/listeners`` and ``/api/accounts``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.service.gateway_documents import (
    device_document,
    dialogue_document,
    listener_document,
    read_listeners,
    read_noted,
    unknown_document,
)
from mailslot.service.json_documents import slot_rows
from mailslot.slots.accounts import add_account, find_account, remove_account
from mailslot.slots.gateway.entries import find_table
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.slots.gateway.table_groups import DEVICES, LISTENERS
from mailslot.slots.settings import protocol_from
from mailslot.slots.slot import is_account
from mailslot.wire.secret import Secret
from mailslot_plugins.gateway.panel import api_schemas as made_of
from mailslot_plugins.gateway.panel.changes import (
    change_device,
    delete_device,
    delete_listener,
    new_device,
    new_listener,
    new_password,
)
from mailslot_plugins.gateway.panel.overview import gateway_log
from mailslot_plugins.panel.api.json_schema import list_of, object_schema, schema_ref
from mailslot_plugins.panel.api.operation import Operation, ResponseSpec, json_response
from mailslot_plugins.panel.permission import requested_by
from mailslot_plugins.panel.problem import ProblemError

if TYPE_CHECKING:
    from starlette.responses import Response

    from mailslot.slots.gateway.table_groups import TableGroup
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.api.operation import Call

path_parameters = made_of.PATH_PARAMETERS
schemas = made_of.SCHEMAS

_NAME: Final = "name"


async def list_gateway_devices(call: Call) -> Response:
    """Return all devices."""
    current = await run_sync(call.device.records.settings.current)
    names = list(current.groups[DEVICES.name])
    noted = await read_noted(gateway_log(call.device), names)

    def documents() -> list[dict[str, Any]]:
        return [device_document(call.device.records, current, name, noted) for name in names]

    return json_response(await run_sync(documents))


async def show_gateway_device(call: Call) -> Response:
    """Return a device."""
    return json_response(await _device(call, await _named(call, DEVICES)))


async def add_gateway_device(call: Call) -> Response:
    """Add a device."""
    name: str = call.body[_NAME]
    values = {key: value for key, value in call.body.items() if key in DEVICES.keys}
    add = partial(
        new_device,
        call.device.records,
        name,
        values,
        password=_secret(call.body.get("password")),
        recoverable=call.body.get("apop", False),
        by=requested_by(call.request),
    )
    return await _added(call, name, await run_sync(add))


async def adopt_gateway_device(call: Call) -> Response:
    """Add a device that tried to connect."""
    name, address = call.body[_NAME], call.body["from_address"]
    log = gateway_log(call.device)
    found = next((each for each in await log.unknown_devices() if each.address == address), None)
    if found is None:
        raise ProblemError(409, f"Nobody unknown has come from {address[:80]}.", key="from_address")
    values = {
        **{key: value for key, value in call.body.items() if key in DEVICES.keys},
        "address": [address],
        "user": call.body.get("user") or found.user or None,
    }
    made = await run_sync(partial(new_device, call.device.records, name, values, by=requested_by(call.request)))
    await log.forget(unknown=[address])
    return await _added(call, name, made)


async def change_gateway_device(call: Call) -> Response:
    """Change settings of a device."""
    name = await _named(call, DEVICES)
    await run_sync(partial(change_device, call.device.records, name, call.body, by=requested_by(call.request)))
    await call.device.refresh()
    return json_response(await _device(call, name))


async def remove_gateway_device(call: Call) -> Response:
    """Remove a device and its password."""
    name = await _named(call, DEVICES)
    document = await _device(call, name)
    await run_sync(partial(delete_device, call.device.records, name, by=requested_by(call.request)))
    await gateway_log(call.device).forget(device=name)
    await call.device.refresh()
    return json_response(document)


async def set_gateway_device_password(call: Call) -> Response:
    """Give a device a new password."""
    name = await _named(call, DEVICES)
    password = _secret(call.body.get("password"))
    made = await run_sync(
        partial(new_password, call.device.records, name, password=password, by=requested_by(call.request))
    )
    return json_response({"name": name, "made_password": None if made is None else made.reveal()})


async def list_gateway_dialogues(call: Call) -> Response:
    """Return the last dialogues of a device."""
    name = await _named(call, DEVICES)
    return json_response([dialogue_document(each) for each in await gateway_log(call.device).dialogues(name)])


async def list_unknown_devices(call: Call) -> Response:
    """Return the unknown devices that tried to connect."""
    return json_response([unknown_document(each) for each in await gateway_log(call.device).unknown_devices()])


async def list_listeners(call: Call) -> Response:
    """Return all listeners."""
    current = await run_sync(call.device.records.settings.current)
    noted = await read_listeners(gateway_log(call.device))
    return json_response(
        [listener_document(current, each, noted) for each in GatewaySettings.of(current).listeners.values()]
    )


async def add_listener(call: Call) -> Response:
    """Add a listener."""
    name: str = call.body[_NAME]
    values = {key: value for key, value in call.body.items() if key != _NAME}
    await run_sync(partial(new_listener, call.device.records, name, values, by=requested_by(call.request)))
    await call.device.refresh()
    return json_response(await _listener(call, name), 201)


async def remove_listener(call: Call) -> Response:
    """Remove a listener."""
    name = await _named(call, LISTENERS)
    document = await _listener(call, name)
    await run_sync(partial(delete_listener, call.device.records, name, by=requested_by(call.request)))
    await call.device.refresh()
    return json_response(document)


async def list_accounts(call: Call) -> Response:
    """Return all accounts."""
    slots = [slot for slot in call.device.slots.slots if is_account(slot.record)]
    return json_response(await slot_rows(call.device.records, slots))


async def create_account(call: Call) -> Response:
    """Add an account, with nothing set."""
    protocol = protocol_from(call.body.get("protocol", "smtp"))
    slot = await run_sync(add_account, call.device.records, call.body[_NAME], protocol)
    await call.device.refresh()
    [row] = await slot_rows(call.device.records, [slot])
    return json_response(row, 201, {"Location": f"/api/slots/{slot.id}"})


async def delete_account(call: Call) -> Response:
    """Remove an account with its token and its secrets."""
    slot = await _account(call)
    sentence = await remove_account(call.device.records, slot)
    await call.device.refresh()
    return json_response({"slot": slot.id, "message": sentence})


async def _added(call: Call, name: str, made: Secret | None) -> Response:
    """Return the response for a device that was added."""
    await call.device.refresh()
    document = await _device(call, name)
    return json_response(
        document if made is None else {**document, "made_password": made.reveal()},
        201,
        {"Location": f"/api/devices/{name}"},
    )


async def _device(call: Call, name: str) -> dict[str, Any]:
    current = await run_sync(call.device.records.settings.current)
    if name not in current.groups[DEVICES.name]:
        raise ProblemError(404, f"There is no device {name[:80]!r}.", key="device")
    noted = await read_noted(gateway_log(call.device), [name])
    return await run_sync(device_document, call.device.records, current, name, noted)


async def _listener(call: Call, name: str) -> dict[str, Any]:
    current = await run_sync(call.device.records.settings.current)
    listener = GatewaySettings.of(current).listeners.get(name)
    if listener is None:
        raise ProblemError(404, f"There is no listener {name[:80]!r}.", key="listener")
    return listener_document(current, listener, await read_listeners(gateway_log(call.device)))


async def _named(call: Call, group: TableGroup) -> str:
    """Return the device or listener in the path.

    Raises:
        ProblemError: 404, there is none of this name.
    """
    name: str = call.request.path_params[group.noun]
    try:
        await run_sync(find_table, call.device.records, group, name)
    except InputError as error:
        raise ProblemError(404, str(error), key=group.noun) from None
    return name


async def _account(call: Call) -> Slot:
    try:
        return await run_sync(find_account, call.device.records, call.request.path_params["account"])
    except InputError as error:
        raise ProblemError(404, str(error), key="account") from None


def _secret(text: str | None) -> Secret | None:
    return None if text is None else Secret(text)


_DEVICE: Final = ResponseSpec("The device.", schema_ref("GatewayDevice"))
_ADDED: Final = ResponseSpec(
    "The device, with the password that was made, which cannot be shown again.",
    schema_ref("GatewayDevice"),
    headers={"Location": "The device."},
)
_LISTENER: Final = schema_ref("Listener")

operations = (
    Operation(
        "GET",
        "/devices",
        list_gateway_devices,
        "List the devices that use the gateway.",
        {200: ResponseSpec("The devices.", list_of(schema_ref("GatewayDevice")))},
    ),
    Operation(
        "POST",
        "/devices",
        add_gateway_device,
        "Add a device. Without a password, one is made for its user. Only the administrator can, not an API key.",
        {201: _ADDED},
        body=made_of.NEW_DEVICE,
        conflicts=True,
    ),
    Operation(
        "GET", "/devices/{device}", show_gateway_device, "Show a device, and what to enter at it.", {200: _DEVICE}
    ),
    Operation(
        "PATCH",
        "/devices/{device}",
        change_gateway_device,
        "Change the given settings of a device, all or none of them; null unsets. Settings that only the administrator "
        "may set are refused with 403, unless they are unchanged.",
        {200: _DEVICE},
        body=made_of.CHANGED_DEVICE,
        conflicts=True,
    ),
    Operation(
        "DELETE",
        "/devices/{device}",
        remove_gateway_device,
        "Remove a device and its password. Only the administrator can, not an API key.",
        {200: ResponseSpec("The device as it was.", schema_ref("GatewayDevice"))},
        conflicts=True,
    ),
    Operation(
        "POST",
        "/devices/{device}/password",
        set_gateway_device_password,
        "Give a device a new password. Only the administrator can, not an API key.",
        {200: ResponseSpec("The password that was made.", schema_ref("DevicePassword"))},
        body=made_of.NEW_PASSWORD,
        conflicts=True,
    ),
    Operation(
        "GET",
        "/devices/{device}/dialogues",
        list_gateway_dialogues,
        "List the last dialogues of a device, the newest first, without secrets.",
        {200: ResponseSpec("The dialogues.", list_of(schema_ref("Dialogue")))},
    ),
    Operation(
        "GET",
        "/unknown-devices",
        list_unknown_devices,
        "List who tried to send and was not let in.",
        {200: ResponseSpec("The unknown devices.", list_of(schema_ref("UnknownDevice")))},
    ),
    Operation(
        "POST",
        "/unknown-devices",
        adopt_gateway_device,
        "Adopt an unknown device: add it with its address and the user that it tried. Only the administrator can, not "
        "an API key.",
        {201: _ADDED},
        body=made_of.ADOPTION,
        conflicts=True,
    ),
    Operation(
        "GET",
        "/listeners",
        list_listeners,
        "List the listeners of the gateway.",
        {200: ResponseSpec("The listeners.", list_of(_LISTENER))},
    ),
    Operation(
        "POST",
        "/listeners",
        add_listener,
        "Add a listener. Only the administrator can, not an API key.",
        {201: ResponseSpec("The listener.", _LISTENER)},
        body=made_of.NEW_LISTENER,
        conflicts=True,
    ),
    Operation(
        "DELETE",
        "/listeners/{listener}",
        remove_listener,
        "Remove a listener. Only the administrator can, not an API key.",
        {200: ResponseSpec("The listener as it was.", _LISTENER)},
        conflicts=True,
    ),
    Operation(
        "GET",
        "/accounts",
        list_accounts,
        "List the accounts besides the slots. Their settings, tokens and tests are under /slots.",
        {200: ResponseSpec("The accounts.", list_of(schema_ref("Slot")))},
    ),
    Operation(
        "POST",
        "/accounts",
        create_account,
        "Add an account, with nothing set.",
        {201: ResponseSpec("The account.", schema_ref("Slot"), headers={"Location": "Its slot."})},
        body=made_of.NEW_ACCOUNT,
        conflicts=True,
    ),
    Operation(
        "DELETE",
        "/accounts/{account}",
        delete_account,
        "Remove an account with its settings, its secrets and its token; not while a device uses it.",
        {200: ResponseSpec("It is removed.", object_schema(slot=schema_ref("AccountId"), message={"type": "string"}))},
        conflicts=True,
    ),
)
