"""``mailslot alert raise``, ``clear`` and ``list``."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer
from rich.console import Console
from rich.markup import escape

from mailslot.cli.console import print_json
from mailslot.cli.home import open_records
from mailslot.cli.listing import print_listing
from mailslot.cli.service_hint import warn_if_no_service
from mailslot.cli.settings import AsJson  # noqa: TC001 - typer reads it
from mailslot_plugins.alerts.incident_rows import incident_rows
from mailslot_plugins.alerts.kinds import KINDS, find_kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.home.home import Home
    from mailslot.service.device import Device
    from mailslot_plugins.alerts.alarms import Alarms

app = typer.Typer(help="Alarms: raise, clear and list them.", no_args_is_help=True)

Kind = Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(KINDS)}.")]


@app.command("raise")
def raise_(
    context: typer.Context,
    kind: Kind,
    detail: Annotated[str, typer.Option(help="Further information.")] = "",
    part: Annotated[str, typer.Option(help="The affected part, for example black; each part has its own mail.")] = "",
) -> None:
    """Raise an alarm. It is mailed once, however often it is raised.

    Examples:
        mailslot alert raise toner_low --part black --detail "5 % are left"
    """
    home: Home = context.obj
    found = find_kind(kind)

    async def action(_: Device, alarms: Alarms) -> str:
        return await alarms.raise_(found.name, part=part, detail=detail)

    _print_result(f"Recorded: {found.title}.", anyio.run(_with_alarms, home, action))
    warn_if_no_service(home)


@app.command("clear")
def clear(
    context: typer.Context,
    kind: Kind,
    part: Annotated[str | None, typer.Option(help="The affected part; without it, all parts.")] = None,
) -> None:
    """Clear an alarm.

    Examples:
        mailslot alert clear toner_low --part black
    """
    found = find_kind(kind)

    async def action(_: Device, alarms: Alarms) -> str:
        return await alarms.clear(found.name, part=part)

    _print_result(f"Recorded: {found.title} is over.", anyio.run(_with_alarms, context.obj, action))


@app.command("list")
def list_(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the open alarms and the state of their mails.

    Examples:
        mailslot alert list
    """
    waiting_reason, rows = anyio.run(_with_alarms, context.obj, incident_rows)
    if as_json:
        print_json(rows)
        return
    console = Console()
    if not rows:
        console.print("No alarm is open.")
        return
    cells: list[list[str]] = []
    for row in rows:
        since = datetime.fromisoformat(row["since"]).astimezone().strftime("%Y-%m-%d %H:%M")
        mail = row["mail"]["state"] if row["mail"] else "–"
        name = row["kind"] + (f" {row['part']}" if row["part"] else "")
        cells.append([*map(escape, (name, row["severity"], row["state"], since, mail, row["detail"]))])
    headings = ("Alarm", "Severity", "State", "Since", "Mail", "Detail")
    print_listing(console, headings, cells, wrapped={"Detail"})
    stuck = [row["mail"]["sentence"] for row in rows if row["mail"] and row["mail"]["state"] != "sent"]
    for sentence in filter(None, dict.fromkeys([waiting_reason, *stuck])):
        console.print(escape(f"Mail waits: {sentence}"), highlight=False)


def _print_result(done: str, waiting_reason: str) -> None:
    sys.stdout.write(f"{done}\n")
    if waiting_reason:
        sys.stderr.write(f"Mail waits: {waiting_reason}\n")


async def _with_alarms(home: Home, action: Callable[[Device, Alarms], Awaitable[Any]]) -> Any:  # noqa: ANN401 - what work gives
    from mailslot.service.device import open_device  # noqa: PLC0415 - httpx2 takes a while to import
    from mailslot_plugins.alerts.alarms import Alarms  # noqa: PLC0415
    from mailslot_plugins.alerts.section import SECTION  # noqa: PLC0415

    async with open_device(open_records(home), [SECTION]) as device:
        return await action(device, Alarms(device))
