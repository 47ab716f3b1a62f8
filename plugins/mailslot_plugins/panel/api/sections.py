"""``/api/sections``: all settings other than those of the slots, such as of the device, faxes and alarms."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mailslot.slots.overview import section_overview
from mailslot.slots.section import find_section, section_names
from mailslot_plugins.panel.api.etag import etag, precondition
from mailslot_plugins.panel.api.json_schema import (
    Schema,
    closed_object_schema,
    list_of,
    object_schema,
    schema_ref,
    setting_schema,
)
from mailslot_plugins.panel.api.operation import Operation, ResponseSpec, json_response
from mailslot_plugins.panel.api.path_parameters import section_from_path
from mailslot_plugins.panel.api.slots import ETAG_HEADER
from mailslot_plugins.panel.api.validation import validate
from mailslot_plugins.panel.permission import change_section as set_section
from mailslot_plugins.panel.permission import requested_by

if TYPE_CHECKING:
    from starlette.responses import Response

    from mailslot.slots.records import Records
    from mailslot.slots.section import Section
    from mailslot_plugins.panel.api.operation import Call


def change_schema(section: Section) -> Schema:
    """Return the schema of a request that changes a section."""
    return closed_object_schema({name: setting_schema(key) for name, key in section.keys.items()})


async def list_sections(call: Call) -> Response:
    """Return all sections."""
    return json_response(await run_sync(_all, call.device.records))


async def show_section(call: Call) -> Response:
    """Return one section."""
    shown = await run_sync(_document, call.device.records, await section_from_path(call))
    return json_response(shown, headers={"ETag": etag(shown)})


async def change_section(call: Call) -> Response:
    """Change the settings in the request."""
    section, records = await section_from_path(call), call.device.records
    validate(change_schema(section), call.body, "")
    first = precondition(call.request, partial(_document, records, section))
    by = requested_by(call.request)
    await run_sync(partial(set_section, records.settings, section, call.body, by=by, first=first))
    await call.device.refresh([section])
    return await show_section(call)


def _all(records: Records) -> list[dict[str, Any]]:
    return [_document(records, section) for section in all_sections()]


def all_sections() -> list[Section]:
    """Return all sections. This loads all plugins."""
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


_SECTION: Final = {200: ResponseSpec("The section.", schema_ref("Section"), headers=ETAG_HEADER)}

operations = (
    Operation(
        "GET",
        "/sections",
        list_sections,
        "List the sections with settings other than the slots'.",
        {200: ResponseSpec("The sections.", list_of(schema_ref("Section")))},
    ),
    Operation("GET", "/sections/{section}", show_section, "Show a section.", _SECTION),
    Operation(
        "PATCH",
        "/sections/{section}",
        change_section,
        "Change the given settings of a section, all or none of them; null unsets. Settings that only the "
        "administrator or somebody with a login on the device may set are refused with 403, unless they are unchanged.",
        _SECTION,
        body=object_schema(),
        conflicts=True,
        conditional=True,
    ),
)
