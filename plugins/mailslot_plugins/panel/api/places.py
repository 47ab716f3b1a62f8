"""What the paths of the API name: slots, sections, jobs, mails and kinds of alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.slots.section import find_section, section_names
from mailslot.slots.slot import SLOTS, find_slot
from mailslot_plugins.alerts.kinds import KINDS, find_kind
from mailslot_plugins.panel.api.documents import SLOT
from mailslot_plugins.panel.api.schema import ID, one_of
from mailslot_plugins.panel.problem import NotDoneError
from mailslot_plugins.panel.render import number_in as parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.section import Section
    from mailslot.slots.slot import Slot
    from mailslot_plugins.alerts.kinds import AlertKind
    from mailslot_plugins.panel.api.operation import Call
    from mailslot_plugins.panel.api.schema import Schema

PLACES: Final[Mapping[str, Schema]] = {
    "slot": SLOT,
    "pop_slot": one_of(*(slot.id for slot in SLOTS if slot.protocol == "POP")),
    "job": ID,
    "mail": ID,
    "kind": one_of(*KINDS),
}
"""The parameters of paths, by name."""


def slot_in(call: Call) -> Slot:
    """Return the slot that a path names.

    Raises:
        NotDoneError: 404, there is none, or mail is not looked for there.
    """
    parameters = call.request.path_params
    try:
        slot = find_slot(parameters["pop_slot" if "pop_slot" in parameters else "slot"])
    except InputError as error:
        raise NotDoneError(404, str(error), key="slot") from None
    if "pop_slot" in parameters and slot.protocol != "POP":
        raise NotDoneError(404, f"{slot.id} sends mail; only a POP slot can be polled.", key="slot")
    return slot


async def section_in(call: Call) -> Section:
    """Return the section that a path names.

    Raises:
        NotDoneError: 404, there is none.
    """
    name: str = call.request.path_params["section"]
    section = await run_sync(find_section, name)
    if section is None:
        known = ", ".join(await run_sync(section_names))
        raise NotDoneError(404, f"There is no section {name[:80]!r}. There are {known}.", key="section")
    return section


def number_in(call: Call, name: str) -> int:
    """Return the number of a job or mail that a path names.

    Raises:
        NotDoneError: 404, it is none.
    """
    text: str = call.request.path_params[name]
    number = parsed(text)
    if number < 1:
        raise NotDoneError(404, f"There is no {name} {text[:80]!r}.", key=name)
    return number


def kind_in(call: Call) -> AlertKind:
    """Return the kind of alarm that a path names.

    Raises:
        NotDoneError: 404, there is none.
    """
    try:
        return find_kind(call.request.path_params["kind"])
    except InputError as error:
        raise NotDoneError(404, str(error), key="kind") from None
