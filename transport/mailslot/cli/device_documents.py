"""Documents of devices, as ``mailslot device … --json`` prints them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mailslot.slots.gateway.device_entry import DEVICE_KEYS
from mailslot.slots.gateway.entries import password_kind
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.slots.gateway.instructions import instructions
from mailslot.slots.keys import json_value
from mailslot.slots.settings import protocol_text
from mailslot.timestamps import iso

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.diagnosis.gateway_log import Dialogue, GatewayLog, UnknownDevice
    from mailslot.slots.gateway.instructions import Instruction
    from mailslot.slots.records import Records

Noted = tuple["dict[str, tuple[str, int]]", "dict[str, list[Dialogue]]"]
"""The addresses that the listeners have taken, and the dialogues of devices, the newest first."""

NOTHING: Noted = ({}, {})


async def read_noted(log: GatewayLog, names: list[str]) -> Noted:
    """Return what the gateway has noted of these devices."""
    return await log.listening(), {name: await log.dialogues(name) for name in names}


def device_document(records: Records, name: str, values: Mapping[str, Any], noted: Noted) -> dict[str, Any]:
    """Return the document of a device. It blocks.

    Args:
        records: the home folder.
        name: the device.
        values: of its table, without defaults.
        noted: from `read_noted`.
    """
    settings = GatewaySettings.of(records.settings.current())
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
