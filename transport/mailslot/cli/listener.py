"""``mailslot listener``: the listeners of the gateway, to which devices connect."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer
from rich.markup import escape

from mailslot.cli.account import ProtocolName
from mailslot.cli.console import make_console, print_json
from mailslot.cli.gateway_log import read_log
from mailslot.cli.home import open_records
from mailslot.cli.listing import print_listing
from mailslot.cli.settings import AsJson
from mailslot.service.gateway_documents import NotedListeners, listener_document, read_listeners
from mailslot.slots.gateway.entries import add_listener, remove_listener
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.timestamps import day

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from mailslot.home.home import Home
    from mailslot.slots.gateway.listeners import Listener

app = typer.Typer(help="What the gateway listens on: add, list and remove.", no_args_is_help=True)

ListenerName = Annotated[str, typer.Argument(metavar="NAME", help="The listener's name, such as scanners.")]


class SecurityName(StrEnum):
    """How a listener encrypts."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@app.command("add")
def add(
    context: typer.Context,
    name: ListenerName,
    *,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where, such as 192.168.1.5:587; port 0 is any free one.")
    ],
    protocol: Annotated[
        ProtocolName, typer.Option(help="smtp takes mail from devices, pop3 lets them fetch theirs.")
    ] = ProtocolName.SMTP,
    security: Annotated[
        SecurityName,
        typer.Option(help="starttls takes a password only after it; none only on a loopback or private address."),
    ] = SecurityName.STARTTLS,
    legacy: Annotated[
        bool, typer.Option("--legacy", help="Also speak TLS 1.0 and 1.1 with old ciphers, on this listener alone.")
    ] = False,
) -> None:
    """Add a listener; the running service opens it within seconds.

    Examples:
        mailslot listener add scanners --listen 192.168.1.5:587
        mailslot listener add old --listen 192.168.1.5:2587 --legacy
        mailslot listener add plain --listen 192.168.1.5:25 --security none
    """
    values: dict[str, object] = {"listen": listen, "protocol": protocol.value, "security": security.value}
    add_listener(open_records(context.obj), name, values | ({"legacy": True} if legacy else {}))
    make_console().print(f"The listener {name} was added: {escape(listen)}.", highlight=False, soft_wrap=True)


@app.command("list")
def list_listeners(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the listeners with their addresses and certificates.

    Examples:
        mailslot listener list
    """
    home: Home = context.obj
    current = open_records(home).settings.current()
    noted = anyio.run(read_log, home, read_listeners, NotedListeners())
    listeners = GatewaySettings.of(current).listeners.values()
    rows: list[dict[str, Any]] = [listener_document(current, each, noted) for each in listeners]
    if as_json:
        print_json(rows)
        return
    console = make_console()
    if not rows:
        console.print("There are no listeners. One is added by: mailslot listener add NAME --listen HOST:PORT")
        return
    cells: list[list[str]] = []
    for row in rows:
        address = row["listen"] + (f" (port {row['port']})" if row["listen"].endswith(":0") and row["port"] else "")
        security = row["security"] + (", also TLS 1.0 and 1.1" if row["legacy"] else "")
        cells.append([row["name"], escape(address), row["protocol"], security, ", ".join(row["devices"])])
    headings = ("Listener", "Address", "Protocol", "Encryption", "Only for")
    print_listing(console, headings, cells, wrapped={"Encryption", "Only for"})
    for row in rows:
        if row["error"]:
            console.print(f"[red]✗[/red] {row['name']}: {escape(row['error'])}", highlight=False)
    _print_certificates(make_console(soft_wrap=True), listeners, noted)


def _print_certificates(console: Console, listeners: Iterable[Listener], noted: NotedListeners) -> None:
    """Print the certificates that listeners present."""
    now = time.time()
    for certificate, names in noted.presented(listeners).items():
        about = f"{certificate.key_type} certificate".strip() + (" made by mailslot" if certificate.generated else "")
        end = f"{'ended' if certificate.has_ended(now) else 'until'} {day(certificate.valid_until)}"
        mark = "[red]✗[/red] " if certificate.ends_soon(now) else ""
        of = ", ".join(certificate.names) or certificate.subject
        console.print(f"{mark}{', '.join(names)}: {escape(f'{about} for {of}, {end}')}", highlight=False)
        console.print(f"  [dim]SHA-256 {certificate.grouped_fingerprint}[/dim]", highlight=False)


@app.command("remove")
def remove(context: typer.Context, name: ListenerName) -> None:
    """Remove a listener, unless a device is bound to it.

    Examples:
        mailslot listener remove old
    """
    remove_listener(open_records(context.obj), name)
    make_console().print(f"The listener {name} is removed.", highlight=False)
