"""``mailslot fleet``: many devices in one database."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from mailslot.cli import fleet_keys
from mailslot.cli.console import confirm, make_console, print_error, print_json
from mailslot.cli.fleet_consent import application, consent
from mailslot.cli.fleet_database import DATABASE, open_fleet
from mailslot.cli.fleet_links import link, links, sign_in, unlink
from mailslot.cli.fleet_set_up import set_up, table
from mailslot.cli.home import fleet_places
from mailslot.cli.listing import print_listing
from mailslot.errors import InputError
from mailslot.fleet.address import DeviceAddress, check_name, parse_device
from mailslot.fleet.opening import open_device_home
from mailslot.timestamps import iso

if TYPE_CHECKING:
    from mailslot.fleet.master_key import MasterKey
    from mailslot.fleet.postgres.database import FleetDatabase
    from mailslot.fleet.postgres.registry import DeviceSummary, Registry
    from mailslot.fleet.postgres.servers import ServerState
    from mailslot.fleet.postgres.statistics import Counts

_WAITING: Final = ("queued", "sending", "deferred", "in_doubt")

_IN_COPIES: Final = "Copies of the database from before have its keys, too, as long as the master key is the same."

app = typer.Typer(no_args_is_help=True, help="Keep many devices in one PostgreSQL database.")

Tenant = Annotated[str | None, typer.Option("--tenant", help="Only the devices of this tenant.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DeviceName = Annotated[str, typer.Argument(metavar="TENANT/DEVICE")]


@app.callback()
def _options(
    context: typer.Context,
    *,
    database: Annotated[
        str | None,
        typer.Option("--database", metavar="URL", help="postgresql://…; else MAILSLOT_DATABASE."),
    ] = None,
) -> None:
    """Take the options before the command."""
    context.obj = database or os.environ.get(DATABASE) or ""


@app.command("init")
def init(context: typer.Context) -> None:
    """Create the tables and a master key, or bring the tables up to date.

    No master key is created if there are tenants already: their secrets need the one that they have.

    Examples:
        mailslot fleet --database postgresql://db.example.com/mailslot init
    """
    database, places = open_fleet(context), fleet_places()
    registry = _registry(context, database)
    steps = registry.init()
    console = make_console()
    console.print("The tables were created." if steps else "The tables are up to date.", highlight=False)
    master = places.master_key_file()
    if master is not None and not registry.has_keys() and master.create():
        console.print(
            f"The master key is {master.file}: each machine that works for the fleet needs it, and "
            "without it all secrets are lost. Keep a copy.",
            highlight=False,
            soft_wrap=True,
        )
    elif master is not None and not master.file.exists():
        console.print(
            f"The master key of this fleet is not on this machine: copy it to {master.file} from one that has it.",
            highlight=False,
            soft_wrap=True,
        )
        return
    newest = fleet_keys.check_keys(database, places.open_master_key())
    if master is None:
        console.print(f"The key service can be used: the newest version of its key is {newest}.", highlight=False)


@app.command("add")
def add(context: typer.Context, name: DeviceName) -> None:
    """Add a device, and its tenant if it is new.

    Examples:
        mailslot fleet add acme/copier
    """
    tenant, device = parse_device(name)
    _registry(context).add(tenant, device, _master_key())
    address = DeviceAddress(context.obj, tenant, device).shown
    make_console().print(f"Added. Its home is: --home '{address}'", highlight=False, soft_wrap=True)


@app.command("remove")
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TENANT[/DEVICE]")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a device, or a tenant with all its devices: settings, tokens and queue.

    With a tenant, or its last device, its data keys are deleted, and nothing of it can be decrypted any more in the
    database. Copies of the database are another matter: see the guide.

    Examples:
        mailslot fleet remove acme/copier
        mailslot fleet remove acme
    """
    registry = _registry(context)
    if "/" not in name:
        number = len(registry.devices(check_name(name)))
        confirm(f"Remove the tenant {name} and its {number} devices with settings, tokens and queues?", yes=yes)
        registry.remove_tenant(name)
        make_console().print(f"The tenant {name} is removed. {_IN_COPIES}", highlight=False)
        return
    tenant, device = parse_device(name)
    if not any(each.device == device for each in registry.devices(tenant)):
        raise InputError(f"There is no device {name} in the fleet.", stage="resolve")
    confirm(f"Remove {name} with its settings, tokens and queue?", yes=yes)
    gone = registry.remove(tenant, device)
    tail = f" So is the tenant {tenant}, which had no other device. {_IN_COPIES}" if gone else ""
    make_console().print(f"{name} is removed.{tail}", highlight=False)


@app.command("list")
def list_devices(
    context: typer.Context,
    *,
    tenant: Tenant = None,
    health: Annotated[
        bool, typer.Option("--health", help="List them by what is wrong: what needs somebody first.")
    ] = False,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="Only devices in this state; may be repeated.")
    ] = None,
    cause: Annotated[str | None, typer.Option("--cause", help="Only devices with this cause.")] = None,
    search: Annotated[
        str | None, typer.Option("--search", metavar="TEXT", help="Only devices whose TENANT/DEVICE contains this.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, the worst first.")] = None,
    as_json: Json = False,
) -> None:
    """List the devices; with --health or its filters, by what is wrong with them.

    The states, in this order: needs_administrator, needs_token, held (jobs wait for somebody), refused (until somebody
    acts), failing (may end by itself), late, expiring, failed (jobs, in the last day), not_set_up, ok.

    Examples:
        mailslot fleet list
        mailslot fleet list --tenant acme
        mailslot fleet list --health --limit 20
        mailslot fleet list --state needs_token --state held --json
    """
    of_tenant = None if tenant is None else check_name(tenant)
    if health or state or cause or search or limit:
        from mailslot.cli.fleet_states import list_states  # noqa: PLC0415 - the messages of causes take a while

        database = open_fleet(context)
        states = state or []
        list_states(database, tenant=of_tenant, states=states, cause=cause, search=search, limit=limit, as_json=as_json)
        return
    found = _registry(context).devices(of_tenant)
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


@app.command("status")
def status(context: typer.Context, *, as_json: Json = False) -> None:
    """Print how many devices, jobs and mails there are, and what is due, for each tenant and in total.

    Devices that need somebody are listed by mailslot fleet list --health.

    Examples:
        mailslot fleet status
    """
    database = open_fleet(context)
    registry = _registry(context, database)
    from mailslot.fleet.postgres.device_states import NEEDS_SOMEBODY, state_counts  # noqa: PLC0415 - it needs the extra

    found, seen_at = registry.statistics(ended=True), registry.workers_seen_at()
    states = {tenant: Counter(counts) for tenant, counts in state_counts(database).items()}
    all_states = sum(states.values(), Counter[str]())
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


@app.command("metrics")
def print_metrics(context: typer.Context) -> None:
    """Print the state of the fleet for Prometheus, for each tenant and in total.

    Examples:
        mailslot fleet metrics
    """
    from mailslot.fleet.metrics import fleet_metrics  # noqa: PLC0415 - it needs the extra

    sys.stdout.write(fleet_metrics(_registry(context).statistics(ended=False)))


@app.command("worker")
def worker(
    context: typer.Context,
    *,
    at_a_time: Annotated[
        int, typer.Option("--tasks", min=1, max=200, help="How many devices to work for at a time.")
    ] = 20,
    renewals: Annotated[int, typer.Option(min=1, max=50, help="How many tokens to renew at a time.")] = 4,
    log: Annotated[
        Literal["json", "plain"] | None, typer.Option(help="How to log; plain on a terminal, else JSON lines.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where Prometheus reads metrics, such as 127.0.0.1:9464.")
    ] = None,
) -> None:
    """Send, fetch and renew tokens for all devices until stopped; run as many as you like.

    Examples:
        mailslot fleet worker
        mailslot fleet worker --tasks 50 --metrics 127.0.0.1:9464
    """
    from mailslot.cli.fleet_worker import run_worker  # noqa: PLC0415 - it needs the extra

    run_worker(context.obj, open_fleet(context, connections=8 + at_a_time // 2), at_a_time, renewals, log, metrics)


@app.command("panel")
def panel(
    context: typer.Context,
    *,
    listen: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Where it listens: PORT alone on this machine only, for a proxy."),
    ],
    settings: Annotated[Path, typer.Option(metavar="FILE", help="Its settings: address, sign-in, roles.")],
    log: Annotated[
        Literal["json", "plain"] | None, typer.Option(help="How to log; plain on a terminal, else JSON lines.")
    ] = None,
) -> None:
    """Show a web panel of all devices, for staff who sign in by OpenID Connect, until stopped.

    Examples:
        mailslot fleet panel --listen 8443 --settings /etc/mailslot/fleet-panel.toml
    """
    from mailslot.cli.fleet_panel import run_panel  # noqa: PLC0415 - it needs the extra

    run_panel(context.obj, open_fleet(context, connections=16), listen, settings, log)


@app.command("import")
def import_(
    context: typer.Context,
    homes: Annotated[list[Path], typer.Argument(metavar="HOME…", help="Home folders; each is a device of its name.")],
    *,
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant that the devices belong to.")],
) -> None:
    """Move home folders into the fleet, with tokens and queue; the folders count as copies from then on.

    Examples:
        mailslot fleet import /var/lib/mailslot/copier --tenant acme
    """
    from mailslot.fleet.transfer import ImportInDoubtError, import_folder  # noqa: PLC0415 - it needs the extra
    from mailslot.home.folder import FolderHome  # noqa: PLC0415

    check_name(tenant)
    names = {folder.absolute(): check_name(folder.absolute().name) for folder in homes}
    for folder in names:
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder}.", stage="resolve")
    database = open_fleet(context)
    registry, master = _registry(context, database), _master_key()
    for folder, name in names.items():
        registry.add(tenant, name, master)
        try:
            home = open_device_home(DeviceAddress(context.obj, tenant, name).full, fleet_places())
            import_folder(FolderHome(folder), home, database)
        except ImportInDoubtError:
            raise
        except BaseException:
            registry.remove(tenant, name)
            raise
        make_console().print(f"{folder} is {tenant}/{name} now.", highlight=False, soft_wrap=True)


@app.command("export")
def export(
    context: typer.Context,
    name: DeviceName,
    folder: Annotated[Path, typer.Argument(metavar="HOME", help="A folder that does not exist yet.")],
) -> None:
    """Copy a device into a home folder; nothing is sent from there until somebody says that it was moved.

    Examples:
        mailslot fleet export acme/copier /var/lib/mailslot/copier
    """
    from mailslot.fleet.transfer import export_device  # noqa: PLC0415 - it needs the extra

    tenant, device = parse_device(name)
    home = open_device_home(DeviceAddress(context.obj, tenant, device).full, fleet_places())
    export_device(home, folder.absolute(), open_fleet(context))
    make_console().print(
        f"{name} was copied to {folder}, and goes on in the fleet. To let the folder take over, remove it "
        f"there and run: mailslot --home {folder} token moved",
        highlight=False,
        soft_wrap=True,
    )


app.command("set-up")(set_up)
app.command("table")(table)
app.command("application")(application)
app.command("consent")(consent)
app.command("link")(link)
app.command("links")(links)
app.command("unlink")(unlink)
app.command("sign-in")(sign_in)


def _registry(context: typer.Context, database: FleetDatabase | None = None) -> Registry:
    found = database or open_fleet(context)
    from mailslot.fleet.postgres.registry import Registry  # noqa: PLC0415 - it needs the extra

    return Registry(found)


def _master_key() -> MasterKey:
    return fleet_places().open_master_key()


def _document(device: DeviceSummary) -> dict[str, Any]:
    return {
        "tenant": device.tenant,
        "device": device.device,
        "added_at": iso(device.added_at),
        "jobs": device.jobs,
        "mails": device.mails,
        "serving": device.serving,
    }


def _counts_document(counts: Counts, states: Counter[str]) -> dict[str, Any]:
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


fleet_keys.add_to(app)
