"""The parameters in the paths of the API: slots, sections, jobs and mails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.slots.section import find_section, section_names
from mailslot.slots.slot import SLOTS
from mailslot_plugins.panel.api.json_schema import ID
from mailslot_plugins.panel.api.schemas import SLOT_ID, slot_id_schema
from mailslot_plugins.panel.problem import ProblemError
from mailslot_plugins.panel.render import parse_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.section import Section
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.api.json_schema import Schema
    from mailslot_plugins.panel.api.operation import Call

PATH_PARAMETERS: Final[Mapping[str, Schema]] = {
    "slot": SLOT_ID,
    "pop_slot": slot_id_schema(slot.id for slot in SLOTS if slot.protocol == "POP"),
    "job": ID,
    "mail": ID,
    "document": ID,
}
"""The schemas of the panel's own path parameters, by name."""


def slot_from_path(call: Call) -> Slot:
    """Return the slot in a path.

    Raises:
        ProblemError: 404, there is no such slot, or it is not a POP slot where one is needed.
    """
    parameters = call.request.path_params
    try:
        slot = call.device.slots.find(parameters["pop_slot" if "pop_slot" in parameters else "slot"])
    except InputError as error:
        raise ProblemError(404, str(error), key="slot") from None
    if "pop_slot" in parameters and slot.protocol != "POP":
        raise ProblemError(404, f"{slot.id} sends mail; only a POP slot can be polled.", key="slot")
    return slot


async def section_from_path(call: Call) -> Section:
    """Return the section in a path.

    Raises:
        ProblemError: 404, there is no such section.
    """
    name: str = call.request.path_params["section"]
    section = await run_sync(find_section, name)
    if section is None:
        known = ", ".join(await run_sync(section_names))
        raise ProblemError(404, f"There is no section {name[:80]!r}. There are {known}.", key="section")
    return section


def number_from_path(call: Call, name: str) -> int:
    """Return the number of a job or mail in a path.

    Raises:
        ProblemError: 404, it is not a number.
    """
    text: str = call.request.path_params[name]
    number = parse_number(text)
    if number < 1:
        raise ProblemError(404, f"There is no {name} {text[:80]!r}.", key=name)
    return number
