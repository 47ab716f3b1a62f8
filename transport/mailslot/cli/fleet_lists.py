"""``mailslot fleet list``, ``status`` and ``metrics``."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mailslot.cli.console import make_console, print_error, print_json
from mailslot.cli.fleet_database import fleet_registry, open_fleet
from mailslot.cli.fleet_options import Json, OfTenant
from mailslot.cli.listing import print_listing
from mailslot.fleet.address import check_name
from mailslot.timestamps import iso

if TYPE_CHECKING:
    from mailslot.fleet.postgres.directory import DeviceState
    from mailslot.fleet.postgres.registry import DeviceSummary
    from mailslot.fleet.postgres.servers import ServerState
    from mailslot.fleet.postgres.statistics import Counts

_WAITING: Final = ("queued", "sending", "deferred", "in_doubt")


def list_devices(
    context: typer.Context,
    *,
    tenant: OfTenant = None,
    health: Annotated[
        bool, typer.Option("--health", help="List them by what is wrong: what needs somebody first.")
    ] = False,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="Only devices in this state; may be repeated.")
    ] = None,
    cause: Annotated[str | None, typer.Option("--cause", help="Only devices with this cause.")] = None,
    search: Annotated[
        str | None,
        typer.Option(
            "--search", metavar="TEXT", help="Only devices with these words in their names, location or accounts."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, the worst first.")] = None,
    page: Annotated[int, typer.Option("--page", min=1, help="Which part of the list, of --limit devices each.")] = 1,
    as_json: Json = False,
) -> None:
    """List the devices; with --health or its filters, by state.

    The states, in this order: needs_administrator, needs_token, held (jobs wait for somebody), refused (until somebody
    acts), failing (may end by itself), late, expiring, failed (jobs, in the last seven days), not_set_up, ok.

    Examples:
        mailslot fleet list
        mailslot fleet list --tenant acme
        mailslot fleet list --health --limit 20
        mailslot fleet list --state needs_token --state held --json
    """
    of_tenant = None if tenant is None else check_name(tenant)
    if health or state or cause or search or limit or page > 1:
        from mailslot.cli.fleet_states import list_states  # noqa: PLC0415 - the messages of causes take a while

        list_states(open_fleet(context), of_tenant, state, cause, search, limit, page, as_json=as_json)
        return
    found = fleet_registry(context).devices(of_tenant)
    if as_json:
        print_json([_document(each) for each in found])
        return
    headings = ("Device", "Jobs", "Waiting", "Held", "Failed", "Mails", "Served")
    cells: list[list[str]] = []
    for each in found:
        jobs = Counter(each.jobs)
        numbers = (jobs.total(), sum(jobs[state] for state in _WAITING), jobs["held"], jobs["failed"])
        mails = Counter(each.mails).total()
        served = "yes" if each.serving else "no"
        cells.append([f"{each.tenant}/{each.device}", *map(str, numbers), str(mails), served])
    print_listing(make_console(), headings, cells, wrapped={"Device"}, right=headings[1:6])


def status(context: typer.Context, *, as_json: Json = False) -> None:
    """Print the numbers of devices, jobs, mails and due tasks, for each tenant and in total.

    Devices that need attention are listed by mailslot fleet list --health.

    Examples:
        mailslot fleet status
    """
    database = open_fleet(context)
    registry = fleet_registry(context, database)
    from mailslot.fleet.postgres.directory import (  # noqa: PLC0415 - it needs the extra
        NEEDS_SOMEBODY,
        DeviceSearch,
        FleetDirectory,
    )

    found, seen_at = registry.statistics(ended=True), registry.workers_seen_at()
    states = {each.name: each.counts for each in FleetDirectory(database).tenants(DeviceSearch(size=None)).tenants}
    all_states: Counter[DeviceState] = Counter(state for counts in states.values() for state in counts.elements())
    if as_json:
        print_json(
            {
                **_counts_document(found.total, all_states),
                "workers_seen_at": None if seen_at is None else iso(seen_at),
                "stopped_servers": found.stopped,
                "servers": [_server_document(each) for each in found.servers],
                "tenants": [
                    {"tenant": name, **_counts_document(each, states.get(name, Counter()))}
                    for name, each in found.tenants.items()
                ],
            }
        )
        return
    headings = (
        *("Tenant", "Devices", "Need somebody", "Served", "Waiting", "Held", "Failed", "Mails to handle"),
        *("Due", "Late", "Failing"),
    )
    cells: list[list[str]] = []
    for name, each in [*found.tenants.items(), ("all", found.total)]:
        of_name = all_states if each is found.total else states.get(name, Counter())
        need = sum(of_name[state] for state in NEEDS_SOMEBODY)
        waiting = sum(each.jobs[state] for state in _WAITING)
        tasks = each.all_tasks
        jobs, mails = each.jobs, each.mails["fetched"]
        numbers = (each.devices, need, each.serving, waiting, jobs["held"], jobs["failed"], mails)
        cells.append([name, *map(str, (*numbers, tasks.due, tasks.late, tasks.failing))])
    print_listing(make_console(), headings, cells, wrapped={"Tenant"}, right=headings[1:])
    for server in found.servers:
        again = "now" if not server.remaining else f"in {max(server.remaining, 0.0):.0f} seconds"
        print_error(f"{server.name} cannot be reached since {iso(server.since)} ({server.cause}); tried again {again}")
    if seen_at is None:
        print_error("No worker runs: start one with: mailslot fleet worker")


def print_metrics(context: typer.Context) -> None:
    """Print the state of the fleet for Prometheus, for each tenant and in total.

    Examples:
        mailslot fleet metrics
    """
    from mailslot.fleet.metrics import fleet_metrics  # noqa: PLC0415 - it needs the extra

    sys.stdout.write(fleet_metrics(fleet_registry(context).statistics(ended=False)))


def _document(device: DeviceSummary) -> dict[str, Any]:
    return {
        "tenant": device.tenant,
        "device": device.device,
        "added_at": iso(device.added_at),
        "jobs": device.jobs,
        "mails": device.mails,
        "serving": device.serving,
    }


def _counts_document(counts: Counts, states: Counter[DeviceState]) -> dict[str, Any]:
    tasks = counts.all_tasks
    return {
        "devices": counts.devices,
        "states": dict(states),
        "serving": counts.serving,
        "jobs": dict(counts.jobs),
        "mails": dict(counts.mails),
        "oldest_waiting_job_seconds": None if counts.oldest_job is None else round(counts.oldest_job, 1),
        "tasks": {
            "planned": tasks.tasks,
            "due": tasks.due,
            "late": tasks.late,
            "failing": tasks.failing,
            "longest_due_seconds": round(tasks.longest, 1),
        },
    }


def _server_document(server: ServerState) -> dict[str, Any]:
    return {
        "server": server.name,
        "since": iso(server.since),
        "cause": server.cause,
        "for_all_tenants": server.for_all,
        "again_in_seconds": None if server.remaining is None else round(max(server.remaining, 0.0), 1),
    }
