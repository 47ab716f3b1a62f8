"""``mailslot fleet list --health``: devices by state, with the meaning of each state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from mailslot.cli.console import make_console, print_json
from mailslot.cli.listing import print_listing
from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.errors import InputError
from mailslot.timestamps import iso

if TYPE_CHECKING:
    from mailslot.fleet.postgres.database import FleetDatabase
    from mailslot.fleet.postgres.directory import DeviceState, ListedDevice


def list_states(
    database: FleetDatabase,
    tenant: str | None,
    states: list[str] | None,
    cause: str | None,
    search: str | None,
    limit: int | None,
    page: int,
    *,
    as_json: bool,
) -> None:
    """Print the devices of a fleet by state, those that need attention first.

    Raises:
        InputError: there is no such state, or the database cannot be used.
    """
    from mailslot.fleet.postgres.directory import STATES, DeviceSearch, FleetDirectory  # noqa: PLC0415 - it needs the extra

    if unknown := [each for each in states or () if each not in STATES]:
        raise InputError(f"There is no state {unknown[0]!r}; there are {', '.join(STATES)}.", stage="resolve")
    only: list[DeviceState] | None = [each for each in STATES if each in states] if states else None
    wanted = DeviceSearch(None, tenant or "", search or "", only, cause, page, limit)
    found = FleetDirectory(database).devices(wanted).devices
    if as_json:
        print_json([_document(each) for each in found])
        return
    cells = [
        [
            f"{each.tenant}/{each.device}",
            each.state,
            escape(each.record or ""),
            "" if each.since is None else iso(each.since),
            escape(_sentence(each)),
        ]
        for each in found
    ]
    headings = ("Device", "State", "Record", "Since", "What")
    print_listing(make_console(), headings, cells, wrapped={"Device", "What"})


def _sentence(each: ListedDevice) -> str:
    jobs = "" if each.jobs is None else f"{each.jobs} {'job' if each.jobs == 1 else 'jobs'}: "
    return f"{jobs}{explain(Diagnosis(each.cause)).message}" if each.cause else jobs.removesuffix(": ")


def _document(each: ListedDevice) -> dict[str, Any]:
    explanation = explain(Diagnosis(each.cause)) if each.cause else None
    return {
        "tenant": each.tenant,
        "device": each.device,
        "name": each.name,
        "location": each.location,
        "state": each.state,
        "record": each.record,
        "cause": each.cause,
        "message": None if explanation is None else explanation.message,
        "advice": None if explanation is None else explanation.advice,
        "actor": None if explanation is None else explanation.actor,
        "since": None if each.since is None else iso(each.since),
        "jobs": each.jobs,
    }
