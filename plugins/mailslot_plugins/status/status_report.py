"""The device's status as text, one line for each fact, as office devices write it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mailslot.errors import MailError
from mailslot.slots.section import DEVICE
from mailslot.slots.settings import directory_of
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.printers.ipp.client import printer_attributes
from mailslot_plugins.printers.ipp.supplies import COUNTERS, SUPPLY_ATTRIBUTES, counters, supplies
from mailslot_plugins.status.words import load_words, translate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot_plugins.printers.ipp.codec import Value
    from mailslot_plugins.status.request import Topic

_PRINTER_STATES: Final = {3: "printer_idle", 4: "printer_printing", 5: "printer_stopped"}
_ATTRIBUTES: Final = ("printer-state", "printer-state-reasons", *SUPPLY_ATTRIBUTES, *COUNTERS)


def _word(key: str, language: str, **facts: object) -> str:
    return translate(load_words("mailslot_plugins.status", "mail_words.toml"), key, language, **facts)


def identity_lines(device: Mapping[str, Any]) -> list[str]:
    """Return the lines that identify the device, from the section ``[device]``, in its language."""
    language = str(device.get("language") or "en")
    named = {
        "device_name": device.get("name"),
        "device_model": device.get("model"),
        "serial_number": device.get("serial_number"),
        "location": device.get("location"),
    }
    return [f"{_word(key, language)}: {one_line(str(value), 200)}" for key, value in named.items() if value]


async def device_report(
    device: Device, topics: Sequence[Topic], *, printer: str | None, ca_file: Path | None, zone: tzinfo | None
) -> str:
    """Return the device's status, in its language.

    Args:
        device: the device.
        topics: the requested topics; the device's identity always comes first.
        printer: the address of the printer whose supplies and counters are included; None for no printer.
        ca_file: certificate authorities that are trusted in addition to the system's, for ``ipps``.
        zone: the time zone; None for the system's.
    """
    now = datetime.fromtimestamp(device.now(), zone).astimezone(zone)
    identity = device.settings(DEVICE)
    language: str = identity["language"]
    lines = [*identity_lines(identity), f"{_word('time', language)}: {now:%Y-%m-%d %H:%M %z}"]
    attributes: Mapping[str, tuple[Value, ...]] = {}
    problem = _word("no_printer", language)
    if printer is not None and set(topics) != {"jobs"}:
        attributes, problem = await _fetch_attributes(printer, ca_file)
    for topic in topics:
        lines.append("")
        if topic == "device":
            lines += await run_sync(_device_lines, device, language)
            if attributes:
                lines += _printer_lines(attributes, language)
            elif printer is not None:
                lines.append(_word("printer", language, state=problem))
        elif topic == "supplies":
            unknown = [_word("supplies_problem", language, problem=problem)]
            lines += _supply_lines(attributes, language) if attributes else unknown
        elif topic == "counters":
            unknown = [_word("counters_problem", language, problem=problem)]
            lines += _counter_lines(attributes, language) if attributes else unknown
        else:
            lines += await _job_lines(device, language)
    return "\n".join([*lines, ""])


async def _fetch_attributes(printer: str, ca_file: Path | None) -> tuple[Mapping[str, tuple[Value, ...]], str]:
    try:
        return await printer_attributes(printer, _ATTRIBUTES, ca_file=ca_file), ""
    except MailError as error:
        return {}, str(error)


def _device_lines(device: Device, language: str) -> list[str]:
    """Return a line for each slot: its token, or whether it is set up. Blocks."""
    lines = [_word("mail_settings", language)]
    settings = device.records.settings.current().records
    slots, now = directory_of(settings).slots, device.now()
    status_of = device.records.tokens.status_blocking
    # Several slots are of one record.
    statuses = {record: status_of(record, settings[record], now) for record in {slot.record for slot in slots}}
    for slot in slots:
        record_settings = settings[slot.record]
        token, health = statuses[slot.record]
        if record_settings.token_source is not None:
            text = _word("set_up", language)
        elif record_settings.authentication == "oauth2" or health is not None:
            text = f"{token} ({_word(f'health_{health.state}', language)})" if health is not None else token
        else:
            text = _word("set_up" if record_settings.server or record_settings.provider else "not_set_up", language)
        lines.append(f"    {slot.id}: {text}")
    return lines


def _printer_lines(attributes: Mapping[str, tuple[Value, ...]], language: str) -> list[str]:
    state = attributes.get("printer-state", (0,))[0]
    reasons = [str(reason) for reason in attributes.get("printer-state-reasons", ())[:20] if reason != "none"]
    text = _word(_PRINTER_STATES.get(state if isinstance(state, int) else 0, "unknown"), language)
    return [one_line(_word("printer", language, state=text) + (f" ({', '.join(reasons)})" if reasons else ""), 400)]


def _supply_lines(attributes: Mapping[str, tuple[Value, ...]], language: str) -> list[str]:
    found = supplies(attributes)
    if not found:
        return [_word("supplies_none", language)]
    levels = [_word("unknown", language) if supply.level is None else f"{supply.level} %" for supply in found]
    return [
        _word("supplies", language),
        *(f"    {one_line(s.name, 60)} = {text}" for s, text in zip(found, levels, strict=True)),
    ]


def _counter_lines(attributes: Mapping[str, tuple[Value, ...]], language: str) -> list[str]:
    found = counters(attributes)
    if not found:
        return [_word("counters_none", language)]
    return [_word("counters", language), *(f"    {name} = {count}" for name, count in found.items())]


async def _job_lines(device: Device, language: str) -> list[str]:
    counts = await device.spool.count_by_state()
    nonzero = [f"    {_word(f'job_{state}', language)} = {count}" for state, count in counts.items() if count]
    return [_word("jobs", language), *(nonzero or [f"    {_word('jobs_none', language)}"])]
