"""``mailslot plugins``: what is installed, from which package, whether it can be used, and what uses it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import typer
from rich.markup import escape
from rich.table import Table

from mailslot.cli.command_table import BUILT_IN
from mailslot.cli.commands import COMMANDS
from mailslot.cli.console import make_console, print_error, print_json
from mailslot.cli.home import open_records
from mailslot.cli.settings import AsJson
from mailslot.entry_points import display_name
from mailslot.slots.settings_file import SettingsFile

if TYPE_CHECKING:
    from pathlib import Path

_COLOURS: Final = {"active": "green", "available": "default", "missing_extra": "yellow", "failed": "red"}


def plugins(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the installed plugins, and whether they can be used.

    It also shows the package of each, and what uses it.

    Examples:
        mailslot plugins
    """
    from mailslot.service.plugin_usage import find_plugin_usage  # noqa: PLC0415
    from mailslot.service.plugins import plugin_rows  # noqa: PLC0415 - the service takes a while to import

    home: Path = context.obj
    uses = anyio.run(find_plugin_usage, SettingsFile(home), partial(open_records, home))
    rows = plugin_rows(uses, commands=COMMANDS, reserved=BUILT_IN.keys())
    if as_json:
        print_json(rows)
    else:
        _show(rows)
    if uses.error:
        print_error(f"What uses them is not known, since the settings cannot be read. {uses.error}")


def _show(rows: list[dict[str, Any]]) -> None:
    console = make_console()
    table = Table()
    for heading in ("Kind", "Name", "Package", "State", "Used by"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        state = f"[{_COLOURS[row['state']]}]{row['state'].replace('_', ' ')}[/]"
        package = " ".join(display_name(each) for each in (row["distribution"], row["version"]) if each)
        shown = (
            escape(display_name(row["kind"].replace(" ", "_")).replace("_", " ")),
            escape(display_name(row["name"])),
        )
        table.add_row(*shown, escape(package), state, escape(", ".join(row["used_by"])))
    console.print(table)
    for row in rows:
        if row["message"]:
            detail = f" [dim]{escape(row['detail'])}[/dim]" if row["state"] == "failed" and row["detail"] else ""
            console.print(f"{escape(row['message'])}{detail}", highlight=False)
    if not any(row["used_by"] for row in rows if not {"serve", "serve --listen"} & {*row["used_by"]}):
        console.print("No setting uses any of them yet; mailslot show SLOT tells what can be set.")
