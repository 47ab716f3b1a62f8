"""The seven slots: places on the panel, three of which share one record (design, section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

Protocol = Literal["SMTP", "POP"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A place on the panel where an administrator sets up SMTP or POP.

    Attributes:
        id: its name in commands.
        path: where it stands on the panel.
        protocol: what is set up there.
        record: the name of the settings and the token behind it.
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

PROTOCOLS: Final[Mapping[str, Protocol]] = {slot.record: slot.protocol for slot in SLOTS}
"""What each record is for."""


def find_slot(name: str) -> Slot:
    """Return the slot with this id.

    Raises:
        InputError: there is none; the nearest is suggested.
    """
    for slot in SLOTS:
        if slot.id == name:
            return slot
    near = get_close_matches(name, [slot.id for slot in SLOTS], n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise InputError(
        f"There is no slot {name!r}.{hint} The slots are: {', '.join(slot.id for slot in SLOTS)}.", stage="resolve"
    )


def slots_of(record: str) -> tuple[Slot, ...]:
    """Return the slots that share a record."""
    return tuple(slot for slot in SLOTS if slot.record == record)
