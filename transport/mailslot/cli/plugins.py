"""``mailslot plugins``: the installed plugins, with their packages, whether they can be used, and what uses them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import typer
from rich.markup import escape

from mailslot.cli.command_table import BUILT_IN
from mailslot.cli.commands import COMMANDS
from mailslot.cli.console import make_console, print_error, print_json
from mailslot.cli.home import open_records
from mailslot.cli.listing import print_listing
from mailslot.cli.settings import AsJson
from mailslot.entry_points import display_name
from mailslot.slots.settings_file import SettingsFile

if TYPE_CHECKING:
    from mailslot.home.home import Home

_COLOURS: Final = {"active": "green", "available": "default", "missing_extra": "yellow", "failed": "red"}


def plugins(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the installed plugins, and whether they can be used.

    It also shows the package of each, and what uses it.

    Examples:
        mailslot plugins
    """
    from mailslot.service.plugin_usage import find_plugin_usage  # noqa: PLC0415
    from mailslot.service.plugins import plugin_rows  # noqa: PLC0415 - the service takes a while to import

    home: Home = context.obj
    uses = anyio.run(find_plugin_usage, SettingsFile(home), partial(open_records, home))
    rows = plugin_rows(uses, commands=COMMANDS, reserved=BUILT_IN.keys())
    if as_json:
        print_json(rows)
    else:
        _show(rows)
    if uses.error:
        print_error(f"What uses them is not known, since the settings cannot be read. {uses.error}")


def _show(rows: list[dict[str, Any]]) -> None:
    from mailslot.service.plugin_usage import COMMANDS as USING  # noqa: PLC0415 - it is loaded by now

    console = make_console()
    headings = ("Name", "Kind", "State", "Package", "Used by")
    print_listing(console, headings, [_cells(row) for row in rows], wrapped={"Package", "Used by"})
    for row in rows:
        if row["message"]:
            detail = f" [dim]{escape(row['detail'])}[/dim]" if row["state"] == "failed" and row["detail"] else ""
            console.print(f"{escape(row['message'])}{detail}", highlight=False)
    if not any(set(row["used_by"]) - {*USING.values()} for row in rows):
        console.print("No setting uses any of them yet; mailslot show SLOT tells what can be set.")


def _cells(row: dict[str, Any]) -> list[str]:
    package = " ".join(display_name(each) for each in (row["distribution"], row["version"]) if each)
    return [
        escape(display_name(row["name"])),
        escape(display_name(row["kind"].replace(" ", "_")).replace("_", " ")),
        f"[{_COLOURS[row['state']]}]{row['state'].replace('_', ' ')}[/]",
        escape(package),
        escape(", ".join(row["used_by"])),
    ]
