"""``mailslot device``: the devices that send or fetch mail through this gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer
from rich.markup import escape

from mailslot.cli import device_options as options
from mailslot.cli.console import make_console, print_json
from mailslot.cli.gateway_log import read_log, unknown_address
from mailslot.cli.home import open_records
from mailslot.cli.listing import print_listing
from mailslot.cli.settings import AsJson
from mailslot.errors import InputError
from mailslot.service.gateway_documents import (
    NOTHING,
    Noted,
    device_document,
    dialogue_document,
    read_noted,
    unknown_document,
)
from mailslot.slots.gateway.entries import add_device, find_table, remove_device, set_device_password
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.slots.gateway.table_groups import DEVICES
from mailslot.slots.overview import as_text
from mailslot.timestamps import short_local_time

if TYPE_CHECKING:
    from mailslot.diagnosis.gateway_log import Dialogue, GatewayLog, UnknownDevice
    from mailslot.home.home import Home
    from mailslot.slots.records import Records
    from mailslot.wire.secret import Secret

app = typer.Typer(help="The devices that use this gateway: who may do what.", no_args_is_help=True)

_SECURITY = {"none": "none", "starttls": "STARTTLS", "tls": "SSL/TLS"}


@app.command("add")
@options.takes_device_options
def add(
    context: typer.Context,
    name: options.DeviceName,
    *,
    as_json: AsJson = False,
    given: options.GivenOptions,
) -> None:
    """Add a device. Its address, a user with a password, or a certificate identifies it; all that are given must match.

    Examples:
        mailslot device add copier --user copier --address 192.168.1.20
        mailslot device add fax --address 192.168.1.21 --via account.office --to '*@example.com' --limit 20/minute
    """
    _add(context.obj, name, given(), as_json=as_json)


@app.command("adopt")
@options.takes_device_options
def adopt(
    context: typer.Context,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Where it came from, as unknown shows it.")],
    name: options.DeviceName,
    *,
    as_json: AsJson = False,
    given: options.GivenOptions,
) -> None:
    """Add an unknown device with its address and the user that it tried, and show what to enter at it.

    Examples:
        mailslot device adopt 192.168.1.22 copier
    """
    home: Home = context.obj
    unknown = anyio.run(read_log, home, _unknown_devices, list["UnknownDevice"]())
    found = next((each for each in unknown if each.address == address), None)
    if found is None:
        raise unknown_address(address, [each.address for each in unknown])
    if given.keywords["via"] is None and _is_pop(home, found.listener):
        raise InputError(
            f"It came to the listener {found.listener}, to fetch mail: say with --via from which account.",
            stage="resolve",
            key="via",
        )
    read = given(address=[address])
    if read.values["user"] is None:
        read.values["user"] = found.user or None
    _add(home, name, read, as_json=as_json)

    async def forget(log: GatewayLog) -> None:
        await log.forget(unknown=[address])

    anyio.run(read_log, home, forget, None)


def _is_pop(home: Home, listener: str) -> bool:
    found = GatewaySettings.of(open_records(home).settings.current()).listeners.get(listener)
    return found is not None and found.protocol == "POP"


def _add(home: Home, name: str, given: options.DeviceOptions, *, as_json: bool) -> None:
    records = open_records(home)
    made = add_device(records, name, given.values, password=given.password, recoverable=given.recoverable)
    document = _document(records, home, name)
    if as_json:
        print_json(document if made is None else {**document, "made_password": made.reveal()})
        return
    make_console().print(f"The device {name} was added.", highlight=False)
    _print_instructions(document, made)


@app.command("list")
def list_devices(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the devices, and when each connected last.

    Examples:
        mailslot device list
    """
    home: Home = context.obj
    records = open_records(home)
    current = records.settings.current()
    names = list(current.groups[DEVICES.name])
    noted = _noted(home, names)
    rows = [device_document(records, current, name, noted) for name in names]
    if as_json:
        print_json(rows)
        return
    console = make_console()
    if not rows:
        console.print("There are no devices, and nothing is taken from anybody. mailslot device add NAME adds one.")
        return
    cells: list[list[str]] = []
    for row in rows:
        last = row["last"]
        known = (" or ".join(row["address"] or ()), row["user"], "its certificate" if row["certificate"] else "")
        texts = (row["name"], " and ".join(filter(None, known)), row["via"], row["listener"] or "any")
        cells.append([*map(escape, texts), escape(last["verdict"]) if last else "–"])
    headings = ("Device", "Known by", "Through", "Listener", "Last")
    print_listing(console, headings, cells, wrapped={"Known by", "Last"})


@app.command("show")
def show(context: typer.Context, name: options.DeviceName, *, as_json: AsJson = False) -> None:
    """Show a device, and what to enter at it.

    Examples:
        mailslot device show copier
    """
    home: Home = context.obj
    document = _document(open_records(home), home, name)
    if as_json:
        print_json(document)
        return
    rows: list[list[str]] = []
    for key in (*DEVICES.keys, "password"):
        text = as_text(document[key])
        rows.append([key, escape({"password": _PASSWORDS.get(text, text)}.get(key, text))])
    print_listing(make_console(), ("Setting", "Value"), [row for row in rows if row[1]], wrapped={"Value"})
    _print_instructions(document, None)


_PASSWORDS = {
    "": "",
    "made": "set; it was shown once",
    "chosen": "set",
    "recoverable": "set, and kept recoverable for APOP",
    "unreadable": "cannot be read: give it a new one",
}


@app.command("remove")
def remove(context: typer.Context, name: options.DeviceName) -> None:
    """Remove a device and its password. Within seconds, its connections are refused.

    Examples:
        mailslot device remove copier
    """
    home: Home = context.obj
    remove_device(open_records(home), name)

    async def forget(log: GatewayLog) -> None:
        await log.forget(device=name)

    anyio.run(read_log, home, forget, None)
    make_console().print(f"The device {name} is removed.", highlight=False)


@app.command("password")
def new_password(
    context: typer.Context,
    name: options.DeviceName,
    *,
    password: options.Password = None,
    apop: Annotated[
        bool | None, typer.Option("--apop/--no-apop", help="Whether to keep it recoverable for APOP; else as before.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give a device a new password: a random one, which is shown once, or your own.

    Examples:
        mailslot device password copier
    """
    made = set_device_password(
        open_records(context.obj), name, password=options.read_password(password), recoverable=apop
    )
    if as_json:
        print_json({"name": name, "made_password": None if made is None else made.reveal()})
    elif made is None:
        make_console().print(f"The device {name} has its new password.", highlight=False)
    else:
        _print_password(made)


@app.command("log")
def log(context: typer.Context, name: options.DeviceName, *, as_json: AsJson = False) -> None:
    """Show the last dialogues of a device, without secrets, each with its outcome.

    Examples:
        mailslot device log copier
    """
    home: Home = context.obj
    find_table(open_records(home), DEVICES, name)

    async def read(log: GatewayLog) -> list[Dialogue]:
        return await log.dialogues(name)

    dialogues = anyio.run(read_log, home, read, list["Dialogue"]())
    if as_json:
        print_json([dialogue_document(each) for each in dialogues])
        return
    console = make_console(soft_wrap=True)
    if not dialogues:
        console.print(f"Nothing has come from {name} yet. Devices that were refused: mailslot device unknown")
    for each in reversed(dialogues):
        mark = "[green]✓[/green]" if each.ok else "[red]✗[/red]"
        about = ", ".join(filter(None, (short_local_time(each.at), each.address, each.listener, each.tls)))
        console.print(f"{mark} [bold]{escape(each.verdict)}[/bold]\n  [dim]{escape(about)}[/dim]", highlight=False)
        for line in each.lines:
            console.print(f"  [dim]{escape(line)}[/dim]", highlight=False)


@app.command("unknown")
def unknown(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the unknown devices that were refused: their address, name and user, and how often they tried.

    Examples:
        mailslot device unknown
    """
    found = anyio.run(read_log, context.obj, _unknown_devices, list["UnknownDevice"]())
    if as_json:
        print_json([unknown_document(each) for each in found])
        return
    console = make_console()
    if not found:
        console.print("No unknown device has tried to send or fetch.")
        return
    headings = ("Address", "HELO", "User tried", "TLS", "Last", "Count", "Why not")
    cells: list[list[str]] = []
    for each in found:
        came = (short_local_time(each.last_at), str(each.count), each.verdict)
        cells.append([*map(escape, (each.address, each.helo, each.user, each.tls, *came))])
    print_listing(console, headings, cells, wrapped={"HELO", "User tried", "Why not"})
    console.print(f"To let one in: mailslot device adopt {escape(found[0].address)} NAME", highlight=False)


async def _unknown_devices(log: GatewayLog) -> list[UnknownDevice]:
    return await log.unknown_devices()


def _document(records: Records, home: Home, name: str) -> dict[str, Any]:
    find_table(records, DEVICES, name)
    return device_document(records, records.settings.current(), name, _noted(home, [name]))


def _noted(home: Home, names: list[str]) -> Noted:
    async def read(log: GatewayLog) -> Noted:
        return await read_noted(log, names)

    return anyio.run(read_log, home, read, NOTHING)


def _print_instructions(document: dict[str, Any], made: Secret | None) -> None:
    """Print what to enter at the device."""
    console = make_console(soft_wrap=True)
    if not document["enter"]:
        console.print(
            f"There is no listener that it may use yet: mailslot listener add NAME --listen HOST:PORT --protocol "
            f"{document['protocol']}",
            highlight=False,
        )
    if len(document["enter"]) > 1:
        console.print("It may use any of these listeners; enter the values of one of them.")
    for each in document["enter"]:
        console.print(f"Enter at the device ({escape(each['listener'])}):", highlight=False)
        rows = {
            "Host": each["host"],
            "Port": str(each["port"]) if each["port"] else "the one that the service takes when it is started",
            "Encryption": _SECURITY[each["security"]] + (", also TLS 1.0 and 1.1" if each["legacy"] else ""),
            "User": each["user"] or "none",
        }
        for label, value in rows.items():
            console.print(f"  {label + ':':<12}{escape(value)}", highlight=False)
    if made is not None:
        _print_password(made)
    if document["check_interval"] == 0:
        console.print(
            f"{document['via']} is checked for mail by hand only, so the device finds nothing new by itself: "
            f"mailslot set {document['via']} check_interval=5",
            highlight=False,
        )


def _print_password(made: Secret) -> None:
    console = make_console(soft_wrap=True)
    console.print(f"  {'Password:':<12}{made.reveal()}", highlight=False)
    console.print("This password is shown only once.")
