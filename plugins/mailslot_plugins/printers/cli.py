"""``mailslot printer``: the certificates that printers are known by."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import anyio
import typer
from rich.markup import escape
from rich.table import Table

from mailslot.cli.console import make_console
from mailslot.cli.home import open_records
from mailslot.cli.settings import AsJson  # noqa: TC001 - typer reads it
from mailslot.errors import InputError
from mailslot_plugins.printers.pins import StoredPins, pins_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

T = TypeVar("T")

app = typer.Typer(help="The certificates of printers.", no_args_is_help=True)


@app.callback()
def _printer() -> None:
    """The certificates of printers."""


@app.command("certificates")
def certificates(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the certificates that printers are known by: those that they showed first, where no ca_file is set."""
    home: Path = context.obj
    pins = anyio.run(_with_pins, home, StoredPins.all)
    if as_json:
        sys.stdout.write(json.dumps([asdict(pin) for pin in pins], indent=2) + "\n")
        return
    console = make_console()
    if not pins:
        console.print("No certificate of a printer is kept.")
        return
    table = Table()
    for heading in ("Printer", "SHA-256"):
        table.add_column(heading, overflow="fold")
    for pin in pins:
        table.add_row(escape(pin.printer), pin.fingerprint)
    console.print(table)


@app.command("forget")
def forget(
    context: typer.Context,
    printer: Annotated[
        str | None,
        typer.Argument(metavar="[PRINTER]", help="HOST:PORT, or its ipps address; the only one that there is without."),
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Let go of a printer's certificate once it was replaced: the next one that is shown there is trusted."""
    home: Path = context.obj
    place = _place(printer) if printer is not None else anyio.run(_with_pins, home, _only)
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody is there to be asked; add --yes", param_hint="--yes")
        typer.confirm(f"Trust whatever certificate {place} shows next?", abort=True)

    async def work(pins: StoredPins) -> None:
        await pins.forget(place)

    anyio.run(_with_pins, home, work)
    make_console().print(f"The certificate of {escape(place)} is forgotten; the next one is trusted.", soft_wrap=True)


def _place(printer: str) -> str:
    from mailslot_plugins.printers.ipp.client import http_address  # noqa: PLC0415 - httpx2 takes a while to import
    from mailslot_plugins.printers.ipp.trust import place_of  # noqa: PLC0415 - likewise

    if "://" not in printer:
        return printer.strip().lower()
    address = http_address(printer)
    if not address.startswith("https:"):
        raise InputError("Only printers at addresses that begin with ipps have a certificate.", stage="resolve")
    return place_of(address)


async def _only(pins: StoredPins) -> str:
    kept = [pin.printer for pin in await pins.all()]
    if len(kept) == 1:
        return kept[0]
    known = f"Certificates are kept of {', '.join(kept)}: name one." if kept else "No certificate of a printer is kept."
    raise InputError(known, stage="resolve")


async def _with_pins(home: Path, work: Callable[[StoredPins], Awaitable[T]]) -> T:
    from mailslot.service.device import open_device  # noqa: PLC0415 - as above

    async with open_device(open_records(home)) as device:
        return await work(pins_of(device))
