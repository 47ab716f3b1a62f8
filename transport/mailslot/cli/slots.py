"""``mailslot slots``."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import anyio
import typer
from rich.markup import escape
from rich.table import Table

from mailslot.cli.console import make_console
from mailslot.cli.home import open_records
from mailslot.cli.settings import AsJson
from mailslot.cli.token import token_rows
from mailslot.diagnosis.history import History
from mailslot.moments import iso
from mailslot.slots.slot import PROTOCOLS, SLOTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mailslot.diagnosis.history import Past
    from mailslot.slots.records import Records


def slots(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show every slot: where it is on the panel, how it signs in, its token, and its last connection test."""
    home: Path = context.obj
    rows = anyio.run(_rows, open_records(home))
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    table = Table(show_lines=True)
    for heading in ("Slot, and where it is on the panel", "Sign-in", "Token", "Health", "Last test"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        health = row["health"]["state"] if row["health"] else "–"
        place = f"[bold]{row['slot']}[/bold]  (record {row['record']})\n[dim]{row['path']}[/dim]"
        table.add_row(place, row["authentication"], row["token"], health, _told(row["last_test"]))
    make_console().print(table)


async def _rows(records: Records) -> list[dict[str, Any]]:
    rows = await token_rows(records, SLOTS)
    history = History(records.home)
    last = {record: _as_json(await history.last(record)) for record in PROTOCOLS}
    return [{**row, "last_test": last[row["record"]]} for row in rows]


def _as_json(tests: Sequence[Past]) -> dict[str, Any] | None:
    """Return the newest of a record's tests, and when one passed last; None where there was none."""
    if not tests:
        return None
    newest = tests[0]
    worked = next((iso(past.at) for past in tests if past.ok), None)
    return {
        "at": iso(newest.at),
        "ok": newest.ok,
        "stage": newest.stage,
        "cause": newest.cause,
        "worked_at": worked,
    }


def _told(test: dict[str, Any] | None) -> str:
    if test is None:
        return "–"
    if test["ok"]:
        return f"[green]✓[/green] {_when(test['at'])}"
    worked = f"; worked until {_when(test['worked_at'])}" if test["worked_at"] else ""
    return f"[red]✗[/red] {_when(test['at'])} {escape(test['cause'])}{worked}"


def _when(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%a %Y-%m-%d %H:%M")
