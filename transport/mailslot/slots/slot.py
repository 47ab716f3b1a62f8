"""The seven slots, three of which share one record (design, section 2), and the slots of accounts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

Protocol = Literal["SMTP", "POP"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A place on the panel where an administrator configures SMTP or POP.

    Attributes:
        id: the name in commands.
        path: the menu path on the panel.
        protocol: SMTP or POP.
        record: the record that holds its settings and token.
    """

    id: str
    path: str
    protocol: Protocol
    record: str


SLOTS: Final = (
    Slot("network.smtp", "System Settings → Network Settings → Service Settings (SMTP tab)", "SMTP", "smtp"),
    Slot("network.quick", "System Settings → Network Settings → Quick Settings", "SMTP", "smtp"),
    Slot("install.quick", "System Settings → Initial Installation Settings → Network Quick Settings", "SMTP", "smtp"),
    Slot(
        "alert.smtp", "System Settings → System Control → E-mail Alert and Status → SMTP Settings", "SMTP", "alert-smtp"
    ),
    Slot(
        "fax.pop", "System Settings → Image Send Settings → Internet Fax Settings → Server Settings", "POP", "fax-pop"
    ),
    Slot("print.pop", "System Settings → Printer Settings → E-mail Print Settings", "POP", "print-pop"),
    Slot(
        "status.pop",
        "System Settings → System Control → E-mail Alert and Status → E-mail Status (Advanced tab)",
        "POP",
        "status-pop",
    ),
)

_SLOTS_BY_ID: Final[Mapping[str, Slot]] = {slot.id: slot for slot in SLOTS}

PROTOCOLS: Final[Mapping[str, Protocol]] = {slot.record: slot.protocol for slot in SLOTS}
"""The protocol of each record of the seven slots."""


def slots_of(record: str) -> tuple[Slot, ...]:
    """Return the slots that share a record; none for an account's record."""
    return tuple(slot for slot in SLOTS if slot.record == record)


ACCOUNT_PREFIX: Final = "account."
"""The prefix of the ids of accounts; an account's record has the same name as its id."""

NAME_RULE: Final = "at most 40 lower-case letters, digits, - and _, and begins with a letter or digit"

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}", re.ASCII)


def is_valid_name(name: str) -> bool:
    """Whether this is a valid name for an account, a listener or a device."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str, what: str) -> None:
    """Check the name of an account, a listener or a device.

    Args:
        name: the name.
        what: the beginning of the error's sentence, such as ``"An account's name"``.

    Raises:
        InputError: it is not allowed.
    """
    if not is_valid_name(name):
        raise InputError(f"{name[:80]!r} cannot be used. {what} has {NAME_RULE}.", stage="resolve")


def is_account(record: str) -> bool:
    """Whether this is the record of an account."""
    return record.startswith(ACCOUNT_PREFIX) and is_valid_name(record.removeprefix(ACCOUNT_PREFIX))


def account_slot(record: str, protocol: Protocol) -> Slot:
    """Return the slot of an account."""
    return Slot(record, f"Accounts → {record.removeprefix(ACCOUNT_PREFIX)}", protocol, record)


@dataclass(frozen=True, slots=True)
class SlotDirectory:
    """The seven slots and the accounts of one device.

    Attributes:
        accounts: the protocol of each account, by record.
        fault: why the accounts are unknown; None if they are known.
    """

    accounts: Mapping[str, Protocol] = field(default_factory=dict[str, Protocol])
    fault: InputError | None = None

    @property
    def protocols(self) -> Mapping[str, Protocol]:
        """The protocol of each record."""
        return {**PROTOCOLS, **self.accounts}

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All slots, the accounts last."""
        return (*SLOTS, *(account_slot(*account) for account in self.accounts.items()))

    def of(self, record: str) -> tuple[Slot, ...]:
        """Return the slots that share a record; none if there is no such record."""
        if record in self.accounts:
            return (account_slot(record, self.accounts[record]),)
        return slots_of(record)

    def find(self, name: str) -> Slot:
        """Return the slot with this id.

        Raises:
            InputError: there is none (a similar id is suggested), or the settings, which may contain an account of this
                name, cannot be read.
        """
        # Asked several times for each message.
        if (protocol := self.accounts.get(name)) is not None:
            return account_slot(name, protocol)
        if name in _SLOTS_BY_ID:
            return _SLOTS_BY_ID[name]
        if self.fault is not None and is_account(name):
            raise self.fault
        ids = [slot.id for slot in self.slots]
        near = get_close_matches(name, ids, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise InputError(f"There is no slot {name!r}.{hint} The slots are: {', '.join(ids)}.", stage="resolve")
