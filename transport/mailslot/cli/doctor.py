"""``mailslot doctor``: whether the device works, on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import anyio
import typer
from rich.markup import escape

from mailslot.cli.console import make_console, print_error, print_json
from mailslot.cli.home import open_records
from mailslot.cli.settings import AsJson
from mailslot.cli.suggestion import suggested_command

if TYPE_CHECKING:
    from mailslot.home.home import Home
    from mailslot.service.doctor import Check
    from mailslot.slots.records import Records

_MARKS: Final = {
    "ok": "[green]✓[/green]",
    "warning": "[yellow]![/yellow]",
    "fault": "[red]✗[/red]",
    "unused": "[dim]–[/dim]",
}


def doctor(
    context: typer.Context,
    *,
    as_json: AsJson = False,
    test: Annotated[bool, typer.Option("--test", help="Test the connections of the slots first.")] = False,
) -> None:
    """Check the service, slots, queue, clock and disk.

    Exits with 1 if something does not work. Without --test, no server is contacted.

    Examples:
        mailslot doctor
        mailslot doctor --test
        mailslot doctor --json
    """
    from mailslot.service.doctor import check_device  # noqa: PLC0415 - the service takes a while to import

    home: Home = context.obj
    records = open_records(home)
    if test:
        anyio.run(_test_slots, records)
    checks = anyio.run(check_device, records)
    if as_json:
        print_json([check.as_json() for check in checks])
    else:
        _print(checks, home)
    if faults := sum(check.state == "fault" for check in checks):
        print_error("1 check found a fault." if faults == 1 else f"{faults} checks found a fault.")
        raise typer.Exit(1)


async def _test_slots(records: Records) -> None:
    """Test the connection of each record that is set up, all at the same time."""
    from mailslot.diagnosis.connection_test import check_connection  # noqa: PLC0415 - httpx2 takes a while to import
    from mailslot.slots.connector import Connector  # noqa: PLC0415 - likewise

    settings = records.settings.current()
    by_record = {slot.record: slot for slot in reversed(settings.slots.slots)}
    async with Connector(records) as connector, anyio.create_task_group() as group:
        for record, slot in by_record.items():
            if settings.records[record].server or settings.records[record].provider:
                group.start_soon(check_connection, connector, slot)


def _print(checks: list[Check], home: Home) -> None:
    from rich.table import Table  # noqa: PLC0415 - `--json` does without it

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    previous = ""
    for check in checks:
        if check.state == "unused":
            continue
        subject = f"[bold]{escape(check.subject)}[/bold]: " if check.subject else ""
        name = "" if check.name == previous else f" {check.name}"
        previous = check.name
        grid.add_row(f"{_MARKS[check.state]}{name}", f"{subject}{escape(check.sentence)}")
        if check.command:
            grid.add_row("", f"[dim]{escape(suggested_command(home, *check.command))}[/dim]")
    if unused := [check.subject for check in checks if check.state == "unused"]:
        grid.add_row(f"{_MARKS['unused']} slot", f"Not set up: {escape(', '.join(unused))}.")
    make_console().print(grid, highlight=False)
