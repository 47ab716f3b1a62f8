"""``mailslot slots``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import anyio
import typer
from rich.console import Console
from rich.table import Table

from mailslot.cli.home import open_records
from mailslot.cli.settings import AsJson
from mailslot.cli.token import token_rows
from mailslot.slots.slot import SLOTS

if TYPE_CHECKING:
    from pathlib import Path


def slots(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show every slot: where it is on the panel, how it signs in, and its token."""
    home: Path = context.obj
    rows = anyio.run(token_rows, open_records(home), SLOTS)
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    table = Table(show_lines=True)
    for heading in ("Slot, and where it is on the panel", "Sign-in", "Token", "Health"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        health = row["health"]["state"] if row["health"] else "–"
        place = f"[bold]{row['slot']}[/bold]  (record {row['record']})\n[dim]{row['path']}[/dim]"
        table.add_row(place, row["authentication"], row["token"], health)
    Console().print(table)
