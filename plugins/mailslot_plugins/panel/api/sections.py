"""``/api/sections``: the settings beside the slots, such as those of the device, of faxes and of alarms."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mailslot.slots.overview import section_overview
from mailslot.slots.section import find_section, section_names
from mailslot_plugins.panel.api.check import check
from mailslot_plugins.panel.api.etag import etag, unchanged
from mailslot_plugins.panel.api.operation import Gives, Operation, answer
from mailslot_plugins.panel.api.places import section_in
from mailslot_plugins.panel.api.schema import Schema, document, entry, list_of, ref, setting
from mailslot_plugins.panel.api.slots import TAG
from mailslot_plugins.panel.permission import change_section as set_section
from mailslot_plugins.panel.permission import setter

if TYPE_CHECKING:
    from starlette.responses import Response

    from mailslot.slots.records import Records
    from mailslot.slots.section import Section
    from mailslot_plugins.panel.api.operation import Call


def change_schema(section: Section) -> Schema:
    """Return the schema of a change to a section."""
    return entry({name: setting(key) for name, key in section.keys.items()})


async def list_sections(call: Call) -> Response:
    """Answer with all sections."""
    return answer(await run_sync(_all, call.device.records))


async def show_section(call: Call) -> Response:
    """Answer with one section."""
    shown = await run_sync(_document, call.device.records, await section_in(call))
    return answer(shown, headers={"ETag": etag(shown)})


async def change_section(call: Call) -> Response:
    """Change what was named."""
    section, records = await section_in(call), call.device.records
    check(change_schema(section), call.body, "")
    first = unchanged(call.request, partial(_document, records, section))
    by = setter(call.request)
    await run_sync(partial(set_section, records.settings, section, call.body, by=by, first=first))
    await call.device.refresh([section])
    return await show_section(call)


def _all(records: Records) -> list[dict[str, Any]]:
    return [_document(records, section) for section in all_sections()]


def all_sections() -> list[Section]:
    """Return every section that there is. All plugins are loaded."""
    return [section for name in section_names() if (section := find_section(name)) is not None]


def _document(records: Records, section: Section) -> dict[str, Any]:
    overview = section_overview(records, section)
    private = {name for name, key in section.keys.items() if key.private}
    return {
        "section": section.name,
        "settings": {name: value for name, value in overview["settings"].items() if name not in private},
        "from": overview["from"],
        "secrets": {name: overview["settings"][name] is not None for name in private},
    }


_SECTION: Final = {200: Gives("The section.", ref("Section"), headers=TAG)}

operations = (
    Operation(
        "GET",
        "/sections",
        list_sections,
        "List the settings beside the slots.",
        {200: Gives("The sections.", list_of(ref("Section")))},
    ),
    Operation("GET", "/sections/{section}", show_section, "Show a section.", _SECTION),
    Operation(
        "PATCH",
        "/sections/{section}",
        change_section,
        "Change settings of a section: those that are named, all or none; null unsets. What only the administrator or "
        "somebody with a login on the device may set is refused with 403, unless it is as it was.",
        _SECTION,
        body=document(),
        conflicts=True,
        guarded=True,
    ),
)
