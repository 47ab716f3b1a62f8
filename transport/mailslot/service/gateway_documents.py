"""JSON documents of listeners, devices and the gateway's log, as the commands and the API return them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from mailslot.net.endpoint import Security
from mailslot.slots.gateway.device_entry import DEVICE_KEYS
from mailslot.slots.gateway.entries import password_kind
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.slots.gateway.instructions import instructions
from mailslot.slots.gateway.table_groups import DEVICES
from mailslot.slots.keys import json_value
from mailslot.slots.settings import protocol_text
from mailslot.timestamps import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mailslot.diagnosis.gateway_log import Dialogue, GatewayLog, UnknownDevice
    from mailslot.diagnosis.listener_certificate import ListenerCertificate
    from mailslot.slots.gateway.device_entry import DeviceEntry
    from mailslot.slots.gateway.instructions import Instruction
    from mailslot.slots.gateway.listeners import Listener
    from mailslot.slots.records import Records
    from mailslot.slots.settings_document import CurrentSettings

Noted = tuple["dict[str, tuple[str, int]]", "dict[str, list[Dialogue]]"]
"""The addresses to which listeners are bound, and the dialogues of devices, newest first."""

NOTHING: Noted = ({}, {})


class NotedListeners(NamedTuple):
    """What the service has noted of listeners, by their names.

    Attributes:
        addresses: the hosts and ports to which it has bound them.
        failures: why one could not be opened, or not with its new certificate.
        certificates: what those with TLS present.
    """

    addresses: Mapping[str, tuple[str, int]] = {}
    failures: Mapping[str, str] = {}
    certificates: Mapping[str, list[ListenerCertificate]] = {}

    def certificates_of(self, listener: Listener) -> list[ListenerCertificate]:
        """Return the certificates of a listener; none where it was never open, or has no TLS any more."""
        return [] if listener.security is Security.NONE else self.certificates.get(listener.name, [])

    def presented(self, listeners: Iterable[Listener]) -> dict[ListenerCertificate, list[str]]:
        """Return all certificates, each with the names of the listeners that present it."""
        found: dict[ListenerCertificate, list[str]] = {}
        for listener in listeners:
            for certificate in self.certificates_of(listener):
                found.setdefault(certificate, []).append(listener.name)
        return found


async def read_listeners(log: GatewayLog) -> NotedListeners:
    """Return what the service has noted of listeners.

    Raises:
        MailError: it cannot be read.
    """
    return NotedListeners(await log.listening(), await log.failures(), await log.certificates())


async def read_noted(log: GatewayLog, names: list[str]) -> Noted:
    """Return the addresses of the listeners, and the dialogues of these devices, as the gateway has noted them.

    Raises:
        MailError: they cannot be read.
    """
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
        "check_interval": _check_interval(current, settings, entry),
        "enter": [instruction_document(each) for each in instructions(settings, entry, listening)],
    }


def _check_interval(current: CurrentSettings, settings: GatewaySettings, entry: DeviceEntry) -> int | None:
    """Return every how many minutes the mail of a device that fetches is looked for; None for one that sends."""
    slot = settings.slots.find(entry.via)
    return current.records[slot.record].check_interval if slot.protocol == "POP" else None


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


def listener_document(current: CurrentSettings, listener: Listener, noted: NotedListeners) -> dict[str, Any]:
    """Return the document of a listener.

    Args:
        current: the settings.
        listener: the listener.
        noted: from `read_listeners`.
    """
    _, bound_port = noted.addresses.get(listener.name, ("", 0))
    return {
        "name": listener.name,
        "listen": listener.address,
        "host": listener.host,
        "port": listener.port or bound_port,
        "protocol": protocol_text(listener.protocol),
        "security": listener.security.value,
        "legacy": listener.legacy,
        "certificate": None if listener.certificate is None else str(listener.certificate),
        "key": None if listener.key is None else str(listener.key),
        "devices": [
            name for name, values in current.groups[DEVICES.name].items() if values.get("listener") == listener.name
        ],
        "error": noted.failures.get(listener.name),
        "certificates": [certificate_document(each) for each in noted.certificates_of(listener)],
    }


def certificate_document(certificate: ListenerCertificate) -> dict[str, Any]:
    """Return the document of a listener's certificate."""
    return {
        **asdict(certificate),
        "names": list(certificate.names),
        "valid_from": iso(certificate.valid_from),
        "valid_until": iso(certificate.valid_until),
    }
