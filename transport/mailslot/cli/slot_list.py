"""The list of ``mailslot slots``; it does without typer."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import anyio

from mailslot.cli.console import make_console, print_json
from mailslot.cli.home import open_records, slot_directory
from mailslot.cli.service_hint import warn_if_no_service
from mailslot.service.json_documents import slot_rows

if TYPE_CHECKING:
    from pathlib import Path


def print_slots(home: Path, *, as_json: bool) -> None:
    """Print every slot and account of a home folder, as a table or as JSON.

    Raises:
        MailError: what is known about them cannot be read.
    """
    rows = anyio.run(slot_rows, open_records(home), slot_directory(home).slots)
    if as_json:
        print_json(rows)
        warn_if_no_service(home)
        return
    from rich.table import Table  # noqa: PLC0415 - `--json` does without it

    table = Table(show_lines=True)
    for heading in ("Slot, and where it is on the panel", "Sign-in", "Token", "Health", "Last test"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        place = f"[bold]{row['slot']}[/bold]  (record {row['record']})\n[dim]{row['path']}[/dim]"
        table.add_row(place, row["authentication"], row["token"], _health(row["health"]), _last_test(row["last_test"]))
    make_console().print(table)
    warn_if_no_service(home)


def _health(health: dict[str, Any] | None) -> str:
    if health is None:
        return "–"
    from rich.markup import escape  # noqa: PLC0415 - as above

    risk = f"\n[yellow]may be blocked[/yellow]: flow {escape(health['flow'])}" if health["flow_can_be_blocked"] else ""
    return f"{health['state']}{risk}"


def _last_test(test: dict[str, Any] | None) -> str:
    if test is None:
        return "–"
    if test["ok"]:
        return f"[green]✓[/green] {_local_time(test['at'])}"
    from rich.markup import escape  # noqa: PLC0415 - as above

    worked = f"; worked until {_local_time(test['worked_at'])}" if test["worked_at"] else ""
    return f"[red]✗[/red] {_local_time(test['at'])} {escape(test['cause'])}{worked}"


def _local_time(timestamp: str) -> str:
    return datetime.fromisoformat(timestamp).astimezone().strftime("%a %Y-%m-%d %H:%M")
