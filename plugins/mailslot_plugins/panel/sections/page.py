"""``/settings/{section}``: a section of ``mailslot.toml`` such as ``[fax]``, also of a third-party pipeline."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.routing import Route

from mailslot.errors import InputError, MailError
from mailslot.slots.keys import parse_value
from mailslot.slots.permission import NotPermittedError
from mailslot.slots.section import find_section
from mailslot_plugins.panel.permission import change_section, requested_by
from mailslot_plugins.panel.pipelines import address_of, page_of
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.sections.fields import (
    allowed_text,
    make_fields,
    read_changes,
    section_name,
    section_text,
    set_command,
    useless_items_of,
)
from mailslot_plugins.panel.sentences import translated
from mailslot_plugins.printers.discovery import can_discover, discover_printers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.service.device import Device
    from mailslot.slots.section import Section
    from mailslot_plugins.panel.pipelines import PipelinePage
    from mailslot_plugins.printers.discovery import FoundPrinter


async def show(request: Request) -> Response:
    """Return the form."""
    return await _form(request, await _section(request))


async def save(request: Request) -> Response:
    """Save the entered values."""
    device = device_of(request)
    section = await _section(request)
    form: FormData = request.state.form
    wanted = read_changes(section, form)
    entered = {key: value or "" for key, value in wanted.items()}
    if errors := _not_allowed(request, section, wanted):
        return await _form(request, section, entered=entered, errors=errors)
    try:
        await run_sync(partial(change_section, device.records.settings, section, wanted, by=requested_by(request)))
    except NotPermittedError as error:
        errors = {error.key: text(request, "slots", "hint_local")}
        commands = {error.key: set_command(section.name, error.key, entered.get(error.key, ""))}
        return await _form(request, section, entered=entered, errors=errors, commands=commands)
    except InputError as error:
        key = error.key if error.key in section.keys else ""
        return await _form(
            request, section, entered=entered, errors={key: translated(str(error), request.state.language)}
        )
    await device.refresh([section])
    return redirect(request, request.url.path, text(request, "sections", "is_saved"))


async def _form(
    request: Request,
    section: Section,
    *,
    entered: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    commands: Mapping[str, str] | None = None,
) -> Response:
    device = device_of(request)
    language = request.state.language
    in_use = await run_sync(device.records.settings.current)
    pages: list[PipelinePage] = request.app.state.pages
    shown = make_fields(
        section, in_use.sections.get(section.name, {}), entered or {}, language, page_of(section.name, pages)
    )
    found, failure = await _found_printers(request) if "find" in request.query_params else ((), "")
    return render(
        request,
        "sections/form.html",
        422 if errors else 200,
        title=section_name(section.name, language),
        back=address_of(section.name, pages),
        fields=[field for field in shown if not section.keys[field.key].advanced],
        more=[field for field in shown if section.keys[field.key].advanced],
        more_title=section_text(section.name, "more", language) or text(request, "sections", "more"),
        errors=errors or {},
        commands=commands or {},
        can_discover=can_discover(),
        find=request.query_params.get("find", ""),
        found=found,
        not_found=failure,
        suggestions=await _suggestions(device, {field.suggested_by for field in shown}, pages),
        searches={page.name: await page.search_address(device) for page in pages},
    )


async def _suggestions(
    device: Device, names: Collection[str], pages: Iterable[PipelinePage]
) -> dict[str, list[tuple[str, str]]]:
    """Return the values that the pages of pipelines suggest, each with what it stands for, by pipeline."""
    return {page.name: await page.suggestions(device) for page in pages if page.name in names}


async def _found_printers(request: Request) -> tuple[Sequence[FoundPrinter], str]:
    """Return the printers on the network, and a sentence if there are none."""
    try:
        found = await discover_printers()
    except MailError:
        return (), text(request, "sections", "cannot_find")
    return found, "" if found else text(request, "sections", "none_found")


def _not_allowed(request: Request, section: Section, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Return the errors in the entered values, by key."""
    found, language = dict[str, str](), request.state.language
    for key, value in wanted.items():
        try:
            parsed = parse_value(section.keys, key, value)
            if items := useless_items_of(section.keys[key], parsed):
                found[key] = text(request, "sections", "useless", items=", ".join(items))
        except InputError:
            found[key] = text(
                request, "sections", "not_allowed", value=value, allowed=allowed_text(section, key, language)
            )
    return found


async def _section(request: Request) -> Section:
    """Return the section in the address.

    Raises:
        HTTPException: 404, there is no such section.
    """
    section = await run_sync(find_section, request.path_params["section"])
    if section is None:
        raise HTTPException(404)
    return section


routes = [Route("/settings/{section}", show), Route("/settings/{section}", save, methods=["POST"])]
