"""``mailslot fleet``: many devices in one database."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mailslot.cli.console import confirm, make_console, print_json
from mailslot.cli.fleet_consent import application, consent
from mailslot.cli.fleet_database import DATABASE, fleet_homes, fleet_registry, open_fleet
from mailslot.cli.fleet_keys import allow, forbid, keys, rewrap, rotate_key
from mailslot.cli.fleet_links import link, links, sign_in, unlink
from mailslot.cli.fleet_lists import list_devices, print_metrics, status
from mailslot.cli.fleet_options import DeviceName, Json, Log, TenantOrDevice
from mailslot.cli.fleet_set_up import set_up, table
from mailslot.cli.home import fleet_places
from mailslot.errors import InputError
from mailslot.fleet.address import DeviceAddress, check_name, parse_device
from mailslot.fleet.opening import open_device_home

if TYPE_CHECKING:
    from mailslot.fleet.master_key import MasterKey

_IN_COPIES: Final = "Copies of the database from before have its keys, too, as long as the master key is the same."

app = typer.Typer(
    no_args_is_help=True,
    help="Keep many devices in one PostgreSQL database.",
    epilog="""\
export MAILSLOT_DATABASE=postgresql://db.example.com/mailslot
mailslot fleet init
mailslot fleet add acme/copier
mailslot fleet set-up devices.csv
mailslot fleet worker
mailslot fleet list --health""",
)


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


def init(context: typer.Context) -> None:
    """Create the tables and a master key, or bring the tables up to date.

    No master key is created if there are tenants already, since their secrets need the existing key.

    Examples:
        mailslot fleet --database postgresql://db.example.com/mailslot init
    """
    database, places = open_fleet(context), fleet_places()
    registry = fleet_registry(context, database)
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
    newest = places.open_master_key().newest()
    if master is None:
        console.print(f"The key service can be used: the newest version of its key is {newest}.", highlight=False)


def add(context: typer.Context, name: DeviceName, *, as_json: Json = False) -> None:
    """Add a device, and its tenant if it is new.

    Examples:
        mailslot fleet add acme/copier
    """
    tenant, device = parse_device(name)
    fleet_registry(context).add(tenant, device, _master_key())
    address = DeviceAddress(context.obj, tenant, device).shown
    if as_json:
        print_json({"tenant": tenant, "device": device, "home": address})
        return
    make_console().print(f"Added. Its home is: --home '{address}'", highlight=False, soft_wrap=True)


def remove(
    context: typer.Context,
    name: TenantOrDevice,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a device, or a tenant with all its devices: settings, tokens and queue.

    With a tenant, or its last device, its data keys are deleted, so that its data in the database can no longer be
    decrypted. For backups of the database, see the guide.

    Examples:
        mailslot fleet remove acme/copier
        mailslot fleet remove acme
    """
    registry = fleet_registry(context)
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


def worker(
    context: typer.Context,
    *,
    at_a_time: Annotated[
        int, typer.Option("--tasks", min=1, max=200, help="How many devices to work for at a time.")
    ] = 20,
    renewals: Annotated[int, typer.Option(min=1, max=50, help="How many tokens to renew at a time.")] = 4,
    log: Log = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where Prometheus reads metrics, such as 127.0.0.1:9464.")
    ] = None,
) -> None:
    """Send and fetch mail and renew tokens for all devices, until stopped. Any number of workers can run.

    Examples:
        mailslot fleet worker
        mailslot fleet worker --tasks 50 --metrics 127.0.0.1:9464
    """
    from mailslot.cli.fleet_worker import run_worker  # noqa: PLC0415 - it needs the extra

    run_worker(fleet_homes(context, 8 + at_a_time // 2), at_a_time, renewals, log, metrics)


def panel(
    context: typer.Context,
    *,
    listen: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Where to listen; PORT alone on this machine only, for a proxy."),
    ],
    settings: Annotated[Path, typer.Option(metavar="FILE", help="Its settings: address, sign-in, roles.")],
    log: Log = None,
) -> None:
    """Serve a web panel of all devices until stopped, for staff who sign in by OpenID Connect.

    Examples:
        mailslot fleet panel --listen 8443 --settings /etc/mailslot/fleet-panel.toml
    """
    from mailslot.cli.fleet_serving import run_panel  # noqa: PLC0415 - it needs the extra

    run_panel(fleet_homes(context, 16, for_pages=True), listen, settings, log)


def sign_out(
    context: typer.Context,
    person: Annotated[
        str | None,
        typer.Argument(metavar="[PERSON]", help="Their name in the panel's log, or the provider's id; else everybody."),
    ] = None,
) -> None:
    """End sessions of staff at the panel. Those who still have a role can sign in again.

    Examples:
        mailslot fleet sign-out bob@example.com
        mailslot fleet sign-out
    """
    from mailslot.fleet.postgres.staff_sessions import end_sessions  # noqa: PLC0415 - it needs the extra

    number = end_sessions(open_fleet(context), person)
    make_console().print("1 session was ended." if number == 1 else f"{number} sessions were ended.", highlight=False)


def import_(
    context: typer.Context,
    homes: Annotated[list[Path], typer.Argument(metavar="HOME…", help="Home folders; each is a device of its name.")],
    *,
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant that the devices belong to.")],
) -> None:
    """Move home folders into the fleet, with tokens and queue. The folders count as copies afterwards.

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
    registry, master = fleet_registry(context, database), _master_key()
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


def export(
    context: typer.Context,
    name: DeviceName,
    folder: Annotated[Path, typer.Argument(metavar="HOME", help="A folder that does not exist yet.")],
) -> None:
    """Copy a device into a home folder. Nothing is sent from there before `mailslot token moved`.

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


def _master_key() -> MasterKey:
    return fleet_places().open_master_key()


_COMMANDS: Final[Mapping[str, Mapping[str, Callable[..., None]]]] = {
    "Devices": {
        "add": add,
        "remove": remove,
        "set-up": set_up,
        "table": table,
        "import": import_,
        "export": export,
    },
    "State of the fleet": {
        "list": list_devices,
        "status": status,
        "metrics": print_metrics,
    },
    "Services": {
        "worker": worker,
        "panel": panel,
        "sign-in": sign_in,
    },
    "Applications and sign-ins": {
        "application": application,
        "consent": consent,
        "link": link,
        "links": links,
        "unlink": unlink,
    },
    "Database, keys and users": {
        "init": init,
        "keys": keys,
        "rewrap": rewrap,
        "rotate-key": rotate_key,
        "allow": allow,
        "forbid": forbid,
        "sign-out": sign_out,
    },
}
"""The commands, below the headings of the help."""

for _heading, _group in _COMMANDS.items():
    for _name, _command in _group.items():
        app.command(_name, rich_help_panel=_heading)(_command)
