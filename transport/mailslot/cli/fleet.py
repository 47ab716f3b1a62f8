"""``mailslot fleet``: many devices in one database."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from mailslot.cli.console import confirm, make_console, print_error, print_json
from mailslot.cli.home import fleet_places
from mailslot.cli.listing import print_listing
from mailslot.errors import InputError
from mailslot.fleet.address import DeviceAddress, check_name, parse_device
from mailslot.fleet.opening import open_database, open_device_home
from mailslot.timestamps import iso

if TYPE_CHECKING:
    from mailslot.fleet.master_key import FileMasterKey
    from mailslot.fleet.postgres.database import FleetDatabase
    from mailslot.fleet.postgres.due_scan import TaskCounts
    from mailslot.fleet.postgres.registry import DeviceSummary, Registry

DATABASE: Final = "MAILSLOT_DATABASE"

_WAITING: Final = ("queued", "sending", "deferred", "in_doubt")

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
    registry, master = _registry(context), _master_key()
    steps = registry.init()
    created = not registry.has_keys() and master.create()
    console = make_console()
    console.print("The tables were created." if steps else "The tables are up to date.", highlight=False)
    if not created and not master.file.exists():
        console.print(
            f"The master key of this fleet is not on this machine: copy it to {master.file} from one that has it.",
            highlight=False,
            soft_wrap=True,
        )
    if created:
        console.print(
            f"The master key is {master.file}: each machine that works for the fleet needs it, and "
            "without it all secrets are lost. Keep a copy.",
            highlight=False,
            soft_wrap=True,
        )


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
    context: typer.Context, name: DeviceName, *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Remove a device with its settings, tokens and queue; with the last one of a tenant, the tenant and its keys.

    Examples:
        mailslot fleet remove acme/copier
    """
    tenant, device = parse_device(name)
    registry = _registry(context)
    if not any(each.device == device for each in registry.devices(tenant)):
        raise InputError(f"There is no device {name} in the fleet.", stage="resolve")
    confirm(f"Remove {name} with its settings, tokens and queue?", yes=yes)
    gone = registry.remove(tenant, device)
    tail = f" So is the tenant {tenant}, which had no other device." if gone else ""
    make_console().print(f"{name} is removed.{tail}", highlight=False)


@app.command("list")
def list_devices(context: typer.Context, *, tenant: Tenant = None, as_json: Json = False) -> None:
    """List the devices.

    Examples:
        mailslot fleet list
        mailslot fleet list --tenant acme
    """
    found = _registry(context).devices(None if tenant is None else check_name(tenant))
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

    Examples:
        mailslot fleet status
    """
    registry = _registry(context)
    found, tasks = registry.devices(), registry.task_counts()
    total = {**_sum(found), "tasks": _sum_of_tasks([*tasks.values()])}
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(each.tenant for each in found):
        counts = _sum_of_tasks([tasks[name]] if name in tasks else [])
        rows.append({"tenant": name, **_sum([each for each in found if each.tenant == name]), "tasks": counts})
    seen_at = registry.workers_seen_at()
    document = {**total, "workers_seen_at": None if seen_at is None else iso(seen_at), "tenants": rows}
    if as_json:
        print_json(document)
        return
    headings = ("Tenant", "Devices", "Served", "Waiting", "Held", "Failed", "Mails to handle", "Due", "Late", "Failing")
    cells: list[list[str]] = []
    in_total: dict[str, Any] = {"tenant": "all", **total}
    for row in [*rows, in_total]:
        jobs: Counter[str] = Counter(row["jobs"])
        mails: Counter[str] = Counter(row["mails"])
        waiting = sum(jobs[state] for state in _WAITING)
        due = row["tasks"]
        numbers = (row["devices"], row["serving"], waiting, jobs["held"], jobs["failed"], mails["fetched"])
        cells.append([row["tenant"], *map(str, numbers), *(str(due[name]) for name in ("due", "late", "failing"))])
    print_listing(make_console(), headings, cells, wrapped={"Tenant"}, right=headings[1:])
    if seen_at is None:
        print_error("No worker runs: start one with: mailslot fleet worker")


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
) -> None:
    """Send, fetch and renew tokens for all devices until stopped; run as many as you like.

    Examples:
        mailslot fleet worker
        mailslot fleet worker --tasks 50
    """
    from mailslot.cli.fleet_worker import run_worker  # noqa: PLC0415 - it needs the extra

    run_worker(context.obj, _database(context, connections=8 + at_a_time // 2), at_a_time, renewals, log)


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
    database = _database(context)
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
    export_device(home, folder.absolute(), _database(context))
    make_console().print(
        f"{name} was copied to {folder}, and goes on in the fleet. To let the folder take over, remove it "
        f"there and run: mailslot --home {folder} token moved",
        highlight=False,
        soft_wrap=True,
    )


def _database(context: typer.Context, connections: int | None = None) -> FleetDatabase:
    if not context.obj:
        raise InputError(
            f"Name the fleet's database: --database postgresql://HOST/DATABASE, or {DATABASE}.", stage="resolve"
        )
    return open_database(context.obj, connections)


def _registry(context: typer.Context, database: FleetDatabase | None = None) -> Registry:
    found = database or _database(context)
    from mailslot.fleet.postgres.registry import Registry  # noqa: PLC0415 - it needs the extra

    return Registry(found)


def _master_key() -> FileMasterKey:
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


def _sum_of_tasks(counts: list[TaskCounts]) -> dict[str, Any]:
    return {
        "planned": sum(each.tasks for each in counts),
        "due": sum(each.due for each in counts),
        "late": sum(each.late for each in counts),
        "failing": sum(each.failing for each in counts),
        "longest_due_seconds": round(max((each.longest for each in counts), default=0.0), 1),
    }


def _sum(devices: list[DeviceSummary]) -> dict[str, Any]:
    jobs: Counter[str] = Counter()
    mails: Counter[str] = Counter()
    for each in devices:
        jobs.update(each.jobs)
        mails.update(each.mails)
    serving = sum(each.serving for each in devices)
    return {"devices": len(devices), "serving": serving, "jobs": dict(jobs), "mails": dict(mails)}
