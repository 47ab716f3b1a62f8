"""Where a slot is: in the address, on the device's menu, and beside which others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from mailslot.slots.slot import SLOTS, slots_of
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from mailslot.slots.slot import Slot


def slot_of(request: Request) -> Slot:
    """Return the slot that an address names.

    Raises:
        HTTPException: 404, there is none.
    """
    for slot in SLOTS:
        if slot.id == request.path_params["slot"]:
            return slot
    raise HTTPException(404)


def steps(slot: Slot) -> list[str]:
    """Return the steps through the device's menu; the last one is the slot's own name."""
    return slot.path.split(" → ")


def others(slot: Slot) -> list[Slot]:
    """Return the other slots with the same settings and token."""
    return [other for other in slots_of(slot.record) if other != slot]


def places(slots: Sequence[Slot], language: str) -> str:
    """Return slots by name, as a sentence lists them; empty for none.

    Args:
        slots: which.
        language: one of the panel's.
    """
    names = [steps(slot)[-1] for slot in slots]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {translate('layout', 'and', language)} {names[-1]}"
