"""Slots in addresses, and the slots that share a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from mailslot.slots.slot import slots_of
from mailslot_plugins.panel.render import device_of

if TYPE_CHECKING:
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


def sharing_slots(slot: Slot) -> list[Slot]:
    """Return the other slots that share the slot's record."""
    return [other for other in slots_of(slot.record) if other != slot]
