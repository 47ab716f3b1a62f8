"""Slots in addresses and in the device's menu, and the slots that share a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from mailslot.slots.slot import slots_of
from mailslot_plugins.panel.render import device_of
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from mailslot.slots.slot import Slot


def slot_of(request: Request) -> Slot:
    """Return the slot in an address.

    Raises:
        HTTPException: 404, there is no such slot.
    """
    for slot in device_of(request).slots.slots:
        if slot.id == request.path_params["slot"]:
            return slot
    raise HTTPException(404)


def menu_steps(slot: Slot) -> list[str]:
    """Return the steps through the device's menu; the last one is the slot's own name."""
    return slot.path.split(" → ")


def sharing_slots(slot: Slot) -> list[Slot]:
    """Return the other slots that share the slot's record."""
    return [other for other in slots_of(slot.record) if other != slot]


def slot_names(slots: Sequence[Slot], language: str) -> str:
    """Return the names of slots as a list in a sentence; empty for no slots."""
    names = [menu_steps(slot)[-1] for slot in slots]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {translate('layout', 'and', language)} {names[-1]}"
