"""Checks across the tables of ``mailslot.toml``: references from one to another, and values that must be unique."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailslot.errors import InputError
from mailslot.slots.settings import directory_of, protocol_from, protocol_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Protocol, SlotDirectory

Table = tuple[str, ...]
Tables = "Mapping[str, Mapping[str, Any]]"


def reference_faults(
    records: Mapping[str, Settings], groups: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> Iterator[tuple[Table, InputError]]:
    """Yield each fault: the table, and an error with its key.

    Args:
        records: the settings of all records.
        groups: the listeners and devices, by group and name; each was already checked on its own.
    """
    directory = directory_of(records)
    for record, settings in records.items():
        if settings.pop_slot is not None and (why := _slot_fault(directory, settings.pop_slot, "POP")):
            yield ("records", record), _error("pop_slot", why)
    listeners, devices = groups["listeners"], groups["devices"]
    yield from _listener_faults(listeners)
    for name, values in devices.items():
        for key, why in _device_faults(values, listeners, directory):
            yield ("devices", name), _error(key, why)
    yield from _duplicates(devices, directory)


def device_protocol(values: Mapping[str, Any], directory: SlotDirectory) -> Protocol | None:
    """Return the protocol of a device's entry, which is that of its slot; None if there is no such slot."""
    try:
        return directory.find(values.get("via", "network.smtp")).protocol
    except InputError:
        return None


def _listener_faults(listeners: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Table, InputError]]:
    taken: dict[str, str] = {}
    for name, values in listeners.items():
        address: str = values["listen"]
        if not address.endswith(":0") and address in taken:
            yield ("listeners", name), _error("listen", f"The listener {taken[address]} has the address {address}.")
        taken.setdefault(address, name)


def _device_faults(
    values: Mapping[str, Any], listeners: Mapping[str, Mapping[str, Any]], directory: SlotDirectory
) -> Iterator[tuple[str, str]]:
    wanted: Protocol | None = None
    listener = values.get("listener")
    if listener is not None and listener not in listeners:
        hint = f"there are {', '.join(listeners)}" if listeners else "mailslot listener add makes one"
        yield "listener", f"There is no listener {listener}; {hint}."
    elif listener is not None:
        wanted = protocol_from(listeners[listener].get("protocol", "smtp"))
    if why := _slot_fault(directory, values.get("via", "network.smtp"), wanted):
        yield "via", why


def _slot_fault(directory: SlotDirectory, name: str, wanted: Protocol | None) -> str:
    """Return why a slot cannot be referred to; empty if it can."""
    try:
        slot = directory.find(name)
    except InputError as error:
        return str(error)
    if wanted is None or slot.protocol == wanted:
        return ""
    return (
        f"{name} is for {protocol_text(slot.protocol).upper()}; here one for {protocol_text(wanted).upper()} is needed."
    )


def _duplicates(
    devices: Mapping[str, Mapping[str, Any]], directory: SlotDirectory
) -> Iterator[tuple[Table, InputError]]:
    """Yield the devices that cannot be distinguished from an earlier one."""
    users: dict[object, str] = {}
    others: dict[object, str] = {}
    for name, values in devices.items():
        protocol = device_protocol(values, directory)
        if (user := values.get("user")) is not None:
            if (twin := users.setdefault((protocol, user.casefold()), name)) != name:
                yield ("devices", name), _error("user", f"The device {twin} has the user {user} already.")
            continue
        where = (protocol, values.get("listener"), values.get("certificate"))
        key = "address" if values.get("address") else "certificate"
        for address in values.get("address", ("",)):
            if (twin := others.setdefault((*where, address), name)) != name:
                yield ("devices", name), _error(key, f"The device {twin} has the same {key}: {address or 'see hint'}.")
                break


def _error(key: str, sentence: str) -> InputError:
    return InputError(sentence, stage="resolve", key=key)
