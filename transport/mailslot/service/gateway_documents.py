"""JSON documents of listeners, devices and the gateway's log, as the commands and the API return them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mailslot.slots.gateway.device_entry import DEVICE_KEYS
from mailslot.slots.gateway.entries import password_kind
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.slots.gateway.instructions import instructions
from mailslot.slots.gateway.table_groups import DEVICES
from mailslot.slots.keys import json_value
from mailslot.slots.settings import protocol_text
from mailslot.timestamps import iso

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.diagnosis.gateway_log import Dialogue, GatewayLog, UnknownDevice
    from mailslot.slots.gateway.instructions import Instruction
    from mailslot.slots.gateway.listeners import Listener
    from mailslot.slots.records import Records
    from mailslot.slots.settings_document import CurrentSettings

Noted = tuple["dict[str, tuple[str, int]]", "dict[str, list[Dialogue]]"]
"""The addresses to which listeners are bound, and the dialogues of devices, newest first."""

NOTHING: Noted = ({}, {})


async def read_noted(log: GatewayLog, names: list[str]) -> Noted:
    """Return the gateway's records of these devices."""
    return await log.listening(), {name: await log.dialogues(name) for name in names}


def device_document(records: Records, current: CurrentSettings, name: str, noted: Noted) -> dict[str, Any]:
    """Return the document of a device. It blocks.

    Args:
        records: the home folder.
        current: its settings, which have this device.
        name: the device.
        noted: from `read_noted`.
    """
    settings = GatewaySettings.of(current)
    values: Mapping[str, Any] = current.groups[DEVICES.name][name]
    entry = settings.devices[name]
    listening, dialogues = noted
    last = next(iter(dialogues.get(name, ())), None)
    return {
        "name": name,
        "protocol": protocol_text(settings.protocol(entry)),
        **{key: json_value(values.get(key, known.default)) for key, known in DEVICE_KEYS.items()},
        "certificate": list(entry.certificates),
        "password": password_kind(records, name) if entry.user is not None else None,
        "last": None if last is None else dialogue_document(last, lines=False),
        "enter": [instruction_document(each) for each in instructions(settings, entry, listening)],
    }


def instruction_document(instruction: Instruction) -> dict[str, Any]:
    """Return the document of what to enter at a device."""
    return {**asdict(instruction), "security": instruction.security.value}


def dialogue_document(dialogue: Dialogue, *, lines: bool = True) -> dict[str, Any]:
    """Return the document of a dialogue."""
    document = {**asdict(dialogue), "at": iso(dialogue.at), "lines": list(dialogue.lines)}
    return document if lines else {key: value for key, value in document.items() if key != "lines"}


def unknown_document(device: UnknownDevice) -> dict[str, Any]:
    """Return the document of an unknown device."""
    return {**asdict(device), "first_at": iso(device.first_at), "last_at": iso(device.last_at)}


def listener_document(
    current: CurrentSettings, listener: Listener, taken: tuple[str, int] | None, error: str | None = None
) -> dict[str, Any]:
    """Return the document of a listener.

    Args:
        current: the settings.
        listener: the listener.
        taken: the host and port to which the service has bound it; None if it was never opened.
        error: why it could not be opened; None if it could.
    """
    return {
        "name": listener.name,
        "listen": listener.address,
        "host": listener.host,
        "port": listener.port or (taken[1] if taken else 0),
        "protocol": protocol_text(listener.protocol),
        "security": listener.security.value,
        "legacy": listener.legacy,
        "certificate": None if listener.certificate is None else str(listener.certificate),
        "key": None if listener.key is None else str(listener.key),
        "devices": [
            name for name, values in current.groups[DEVICES.name].items() if values.get("listener") == listener.name
        ],
        "error": error,
    }
