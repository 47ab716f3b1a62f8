"""The contents of the gateway's pages: devices with their state, and the slots and accounts that they may use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot.diagnosis.gateway_log import STORE, GatewayLog
from mailslot.slots.effective_settings import effective_settings
from mailslot.slots.settings import directory_of, protocol_of
from mailslot.slots.slot import is_account
from mailslot.spool.job import UNFINISHED
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.panel.slots.names import slot_name
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mailslot.diagnosis.gateway_log import Dialogue, UnknownDevice
    from mailslot.service.device import Device
    from mailslot.slots.gateway.device_entry import DeviceEntry
    from mailslot.slots.gateway.gateway_settings import GatewaySettings
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Protocol
    from mailslot.spool.job import State

FOLDER: Final = "gateway"
"""The pipeline's name, which is also the folder of its texts and templates."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """The sentence about a dialogue, in the language of the page.

    Attributes:
        text: what happened.
        advice: what to do; may be empty.
    """

    text: str
    advice: str = ""


@dataclass(slots=True)
class Tally:
    """The numbers of a device's messages in the spool.

    Attributes:
        sent: accepted by the mail server.
        waiting: not sent yet.
        failed: not sent.
        newest_at: when the newest was accepted, in seconds since 1970; None without any.
    """

    sent: int = 0
    waiting: int = 0
    failed: int = 0
    newest_at: float | None = None

    def add(self, state: State, number: int, newest_at: float) -> None:
        """Add the jobs in a state."""
        if state == "sent":
            self.sent += number
        elif state == "failed":
            self.failed += number
        elif state in UNFINISHED:
            self.waiting += number
        self.newest_at = max(self.newest_at or 0.0, newest_at)


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device in the list.

    Attributes:
        name: its name.
        entry: its entry.
        protocol: whether it sends or fetches.
        last: its newest dialogue; None if it has never connected.
        sentence: the sentence about that dialogue; None without one.
        tally: its messages.
    """

    name: str
    entry: DeviceEntry
    protocol: Protocol
    last: Dialogue | None
    sentence: Sentence | None
    tally: Tally = field(default_factory=Tally)

    @property
    def kind(self) -> str:
        """The kind of badge for its state."""
        return "none" if self.last is None else "ok" if self.last.ok else "error"


@dataclass(frozen=True, slots=True)
class AccountChoice:
    """A slot or account that devices can use.

    Attributes:
        id: its id.
        name: what it is called on the panel.
        address: the address that it sends from, or its mailbox; may be empty.
        protocol: whether devices send through it or fetch from it.
        is_set: whether it is set up.
    """

    id: str
    name: str
    address: str
    protocol: Protocol
    is_set: bool

    @property
    def label(self) -> str:
        """Its name with its address."""
        return f"{self.name} ({self.address})" if self.address else self.name


def gateway_log(device: Device) -> GatewayLog:
    """Return the gateway's log."""
    return GatewayLog(device.store(STORE))


async def device_rows(
    device: Device, settings: GatewaySettings, language: str, names: Iterable[str] | None = None
) -> list[DeviceRow]:
    """Return devices with their state.

    Args:
        device: the device that mailslot runs on.
        settings: the devices.
        language: one of the panel's.
        names: the names of the devices to return; None for all.
    """
    log = gateway_log(device)
    tallies = {name: Tally() for name in settings.devices}
    for name, state, number, newest_at in await device.spool.count_by_device():
        if name in tallies:
            tallies[name].add(state, number, newest_at)
    rows: list[DeviceRow] = []
    for name in settings.devices if names is None else names:
        entry = settings.devices[name]
        last = next(iter(await log.dialogues(name)), None)
        sentence = None if last is None else sentence_of(last, language)
        rows.append(DeviceRow(name, entry, settings.protocol(entry), last, sentence, tallies[name]))
    return rows


def sentence_of(noted: Dialogue | UnknownDevice, language: str) -> Sentence:
    """Return the sentence about a dialogue or an unknown device, in the language of the page."""
    if noted.cause == "ok":
        number = getattr(noted, "messages", 0)
        key = {0: "messages_none", 1: "messages_one"}.get(number, "messages_many")
        return Sentence(translate(FOLDER, key, language, number=number))
    if not noted.cause:
        return Sentence(noted.verdict)
    explanation = explanation_of(noted.cause, language)
    return Sentence(explanation.message, explanation.advice)


def account_choices(records: Mapping[str, Settings], language: str) -> list[AccountChoice]:
    """Return the slots and accounts that devices can use: accounts before slots, and those that are set up first.

    POP slots are left out, since their mail belongs to the device that mailslot runs on.

    Args:
        records: the settings of all records.
        language: the language of the names.
    """
    directory = directory_of(records)
    found: list[AccountChoice] = []
    for record, own in records.items():
        protocol = protocol_of(record, own)
        if protocol == "POP" and not is_account(record):
            continue
        slot, effective = directory.of(record)[0], effective_settings(own, protocol)
        address = (effective.sender_address if protocol == "SMTP" else effective.account) or ""
        found.append(AccountChoice(slot.id, slot_name(slot, language), address, protocol, effective.server is not None))
    found.sort(key=lambda via: (not is_account(via.id), not via.is_set))
    return found
