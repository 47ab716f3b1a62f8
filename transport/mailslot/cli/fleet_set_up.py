"""``mailslot fleet set-up`` and ``mailslot fleet table``."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from mailslot.cli.console import make_console, print_error, print_json
from mailslot.cli.fleet_database import fleet_homes, fleet_registry
from mailslot.cli.fleet_options import Json, OfTenant
from mailslot.cli.listing import print_listing
from mailslot.errors import InputError
from mailslot.fleet.address import check_name

if TYPE_CHECKING:
    from mailslot.fleet.set_up import DeviceChange
    from mailslot.fleet.set_up_table import TableFault


def set_up(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A table in CSV; - for standard input.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; print what would change.")] = False,
    as_json: Json = False,
) -> None:
    """Add devices, or change existing ones, by a table in CSV.

    The columns tenant and device name the device. Every other column is a setting: account, provider or any other of
    network.smtp, or of the slot in the column slot; fax.pop.account for another slot; device.location for a section.
    The provider's tenant is the column provider_tenant. An empty cell leaves a setting as it is, and - unsets it.
    Passwords and secrets do not belong in a table.

    Each device is changed completely or not at all, and only where it differs from the table. So an interrupted run can
    simply be repeated.

    Examples:
        mailslot fleet set-up devices.csv --dry-run
        mailslot fleet set-up devices.csv
        mailslot fleet table --tenant acme > devices.csv
    """
    from mailslot.fleet.set_up import SetUp  # noqa: PLC0415 - cryptography is slow
    from mailslot.fleet.set_up_table import read_device_table  # noqa: PLC0415 - as above

    homes = fleet_homes(context)
    table = read_device_table(_octets(file))
    if table.faults and not dry_run:
        _print_faults(table.faults)
        raise InputError(f"Nothing was changed: the table has {_number(len(table.faults), 'fault')}.", stage="resolve")
    registry = fleet_registry(context, homes.database)
    faulty = {fault.line for fault in table.faults}
    wanted = [each for each in table.devices if not faulty & {line for line, _ in each.cells.values()}]
    work = SetUp(registry, homes, registry.names(), dry_run=dry_run)
    done: list[DeviceChange] = []
    for each in work.apply(wanted):
        done.append(each)
        if not as_json and each.outcome == "failed":
            _print_faults(each.faults)
    faults = [*table.faults, *(fault for each in done for fault in each.faults)]
    if as_json:
        print_json(
            {"dry_run": dry_run, "devices": [_document(each) for each in done], "faults": [*map(asdict, faults)]}
        )
    else:
        if dry_run:
            _print_changes(done)
        _print_faults(table.faults)
        _print_sum(done, dry_run=dry_run)
    if faults:
        raise InputError(f"The table has {_number(len(faults), 'fault')}.", stage="resolve")


def table(
    context: typer.Context,
    *,
    tenant: OfTenant = None,
) -> None:
    """Print the settings of all devices as a table in CSV, without secrets, for mailslot fleet set-up.

    Examples:
        mailslot fleet table > devices.csv
        mailslot fleet table --tenant acme > acme.csv
    """
    from mailslot.fleet.export_table import export_table  # noqa: PLC0415 - cryptography is slow

    found = fleet_registry(context).settings_documents(None if tenant is None else check_name(tenant))
    octets, left_out = export_table(found)
    sys.stdout.buffer.write(octets)
    for sentence in left_out:
        print_error(sentence)


def _octets(file: str) -> bytes:
    from mailslot.fleet.set_up_table import MAX_OCTETS  # noqa: PLC0415 - as above

    # One octet more tells that it is too large.
    if file == "-":
        return sys.stdin.buffer.read(MAX_OCTETS + 1)
    try:
        with Path(file).open("rb") as opened:
            return opened.read(MAX_OCTETS + 1)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.", stage="resolve", detail=str(error)) from error


def _print_changes(done: list[DeviceChange]) -> None:
    cells: list[list[str]] = []
    for each in done:
        if each.outcome in {"added", "changed"}:
            shown = "; ".join(
                f"{change.table.removeprefix('records.')} {change.key}: {_text(change.before)} → {_text(change.after)}"
                for change in each.changes
            )
            cells.append([f"{each.tenant}/{each.device}", each.outcome, escape(shown)])
    if cells:
        print_listing(make_console(), ("Device", "Would be", "Settings"), cells, wrapped={"Device", "Settings"})


def _print_sum(done: list[DeviceChange], *, dry_run: bool) -> None:
    counts: Counter[str] = Counter(each.outcome for each in done)
    outcomes = ("added", "changed", "unchanged", "failed")
    shown = ", ".join(f"{counts[outcome]} {outcome}" for outcome in outcomes)
    make_console().print(f"{'Nothing was changed. It would be: ' if dry_run else ''}{shown}.", highlight=False)
    for note in dict.fromkeys(note for each in done for note in each.notes):
        make_console().print(escape(note), highlight=False, soft_wrap=True)


def _print_faults(faults: tuple[TableFault, ...]) -> None:
    for fault in faults:
        print_error(str(fault))


def _text(value: object) -> str:
    from mailslot.slots.overview import as_text  # noqa: PLC0415 - cryptography is slow

    return as_text(value) or "–"


def _number(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _document(each: DeviceChange) -> dict[str, Any]:
    return {
        "tenant": each.tenant,
        "device": each.device,
        "line": each.line,
        "outcome": each.outcome,
        "changes": [asdict(change) for change in each.changes],
        "notes": [*each.notes],
        "faults": [asdict(fault) for fault in each.faults],
    }
