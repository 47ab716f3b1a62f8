"""``mailslot printer``: the certificates of printers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import anyio
import typer
from rich.markup import escape

from mailslot.cli.console import confirm, make_console, print_json
from mailslot.cli.home import open_records
from mailslot.cli.listing import print_listing
from mailslot.cli.settings import AsJson  # noqa: TC001 - typer reads it
from mailslot.plugin import InputError
from mailslot_plugins.printers.pins import StoredPins, pins_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.home.home import Home

T = TypeVar("T")

app = typer.Typer(help="The certificates of printers.", no_args_is_help=True)


@app.callback()
def _printer() -> None:
    """The certificates of printers."""


@app.command("certificates")
def certificates(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the trusted certificates of printers: those that they showed first, if no ca_file is set.

    Examples:
        mailslot printer certificates
    """
    pins = anyio.run(_with_pins, context.obj, StoredPins.all)
    if as_json:
        print_json([asdict(pin) for pin in pins])
        return
    console = make_console()
    if not pins:
        console.print("No printer's certificate is stored.")
        return
    print_listing(console, ("Printer", "SHA-256"), [[escape(pin.printer), pin.fingerprint] for pin in pins])


@app.command("forget")
def forget(
    context: typer.Context,
    printer: Annotated[
        str | None,
        typer.Argument(metavar="[PRINTER]", help="HOST:PORT, or its ipps address; not needed if only one is stored."),
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Forget a printer's certificate after it was replaced: the next one that the printer shows is trusted.

    Examples:
        mailslot printer forget printer.example:631
    """
    home: Home = context.obj
    printer_address = (
        _parse_host_and_port(printer) if printer is not None else anyio.run(_with_pins, home, _only_pinned_printer)
    )
    confirm(f"Trust whatever certificate {printer_address} shows next?", yes=yes)

    async def action(pins: StoredPins) -> None:
        await pins.forget(printer_address)

    anyio.run(_with_pins, home, action)
    make_console().print(
        f"The certificate of {escape(printer_address)} is forgotten; the next one is trusted.", soft_wrap=True
    )


def _parse_host_and_port(printer: str) -> str:
    from mailslot_plugins.printers.ipp.client import http_address  # noqa: PLC0415 - httpx2 takes a while to import
    from mailslot_plugins.printers.ipp.trust import host_and_port  # noqa: PLC0415 - likewise

    if "://" not in printer:
        return printer.strip().lower()
    address = http_address(printer)
    if not address.startswith("https:"):
        raise InputError("Only printers at addresses that begin with ipps have a certificate.", stage="resolve")
    return host_and_port(address)


async def _only_pinned_printer(pins: StoredPins) -> str:
    printers = [pin.printer for pin in await pins.all()]
    if len(printers) == 1:
        return printers[0]
    sentence = (
        f"Certificates are stored for {', '.join(printers)}: name one."
        if printers
        else "No printer's certificate is stored."
    )
    raise InputError(sentence, stage="resolve")


async def _with_pins(home: Home, action: Callable[[StoredPins], Awaitable[T]]) -> T:
    from mailslot.plugin import open_device  # noqa: PLC0415 - as above

    async with open_device(open_records(home)) as device:
        return await action(pins_of(device))
