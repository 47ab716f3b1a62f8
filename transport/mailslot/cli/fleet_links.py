"""``mailslot fleet link``, ``links``, ``unlink`` and ``sign-in``."""

from __future__ import annotations

import ssl
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from mailslot.cli.console import make_console, print_error, print_json
from mailslot.cli.fleet_database import fleet_homes
from mailslot.cli.fleet_options import Json, Log, OfTenant, TenantOrDevice
from mailslot.cli.listing import print_listing
from mailslot.errors import InputError, MailError
from mailslot.fleet.address import check_name, parse_device
from mailslot.slots.keys import url
from mailslot.timestamps import iso

if TYPE_CHECKING:
    from mailslot.fleet.links import MadeLink
    from mailslot.fleet.postgres.sign_in_links import SignInLink

LinkState = Literal["open", "used", "expired", "withdrawn"]

LINK_HOURS: Final = 72
"""Hours for which a link can be used by default: a weekend and a day."""


def link(
    context: typer.Context,
    name: TenantOrDevice,
    slots: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SLOT]…", help="Slots; else all whose token is missing or does not work."),
    ] = None,
    *,
    user: Annotated[
        str | None, typer.Option(help="Who has to sign in, if not the account itself, as for a shared mailbox.")
    ] = None,
    hours: Annotated[int, typer.Option(min=1, max=720, help="For how many hours the link can be used.")] = LINK_HOURS,
    as_json: Json = False,
) -> None:
    """Make links by which the owners of mailboxes sign in for devices; each is printed once.

    A link can be used once, and only by the owner of the mailbox. It may be sent in any way: anybody else who opens
    it sees only the names of the device and the mailbox.

    Examples:
        mailslot fleet link acme/copier
        mailslot fleet link acme/copier network.smtp fax.pop --hours 24
        mailslot fleet link acme --json
    """
    tenant, slash, device = name.partition("/")
    if slash:
        parse_device(name)
    homes = fleet_homes(context)
    from mailslot.fleet.links import make_links  # noqa: PLC0415 - cryptography is slow
    from mailslot.fleet.postgres.consents import Consents  # noqa: PLC0415 - it needs the extra
    from mailslot.fleet.postgres.sign_in_links import SignInLinks  # noqa: PLC0415 - as above

    consents, stored = Consents(homes.database), SignInLinks(homes.database)
    base = consents.address()
    if base is None:
        raise InputError(
            "It is not known at which address the pages are: serve them first, by mailslot fleet sign-in --address "
            "https://HOST",
            stage="resolve",
        )
    made: list[MadeLink] = []
    faults: list[str] = []
    devices = [device] if slash else consents.devices(check_name(tenant))
    if not devices:
        raise InputError(f"There is no tenant {tenant} in the fleet.", stage="resolve")
    for each in devices:
        try:
            home = homes.named(tenant, each)
            made += make_links(stored, home, slots or (), user, base=base, now=time.time(), hours=hours)
        except MailError as error:
            if slash:
                raise
            # The links made so far are stored nowhere else, so they must be printed.
            faults.append(f"{tenant}/{each}: {error}")
    _print_links(made, faults, as_json=as_json)
    if faults:
        raise typer.Exit(2)


def _print_links(made: list[MadeLink], faults: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(each) for each in made])
    elif not made and not faults:
        make_console().print("Nothing is missing: name a slot to have somebody sign in again.", highlight=False)
    else:
        console = make_console(soft_wrap=True)
        for each in made:
            console.print(f"{each.device} ({each.account}):\n  {each.address}", highlight=False, markup=False)
    for fault in faults:
        print_error(fault)


def links(
    context: typer.Context,
    *,
    tenant: OfTenant = None,
    state: Annotated[LinkState | None, typer.Option("--state", help="Only links in this state.")] = None,
    as_json: Json = False,
) -> None:
    """List the links for owners of mailboxes, with their state.

    Examples:
        mailslot fleet links
        mailslot fleet links --tenant acme --state open
    """
    homes = fleet_homes(context)
    from mailslot.fleet.postgres.sign_in_links import SignInLinks  # noqa: PLC0415 - it needs the extra

    found = [
        each
        for each in SignInLinks(homes.database).all(None if tenant is None else check_name(tenant))
        if state is None or each[2].state == state
    ]
    if as_json:
        print_json([_document(*each) for each in found])
        return
    cells = [
        [
            str(each.id),
            f"{of_tenant}/{device}",
            escape(each.account),
            each.state,
            iso(each.expires_at),
            escape(each.sentence),
        ]
        for of_tenant, device, each in found
    ]
    headings = ("Link", "Device", "Account", "State", "Expires", "Last failure")
    print_listing(make_console(), headings, cells, wrapped={"Device", "Account", "Last failure"})


def unlink(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="LINK", min=1, help="Its number in mailslot fleet links.")],
) -> None:
    """Withdraw an unused link.

    Examples:
        mailslot fleet unlink 17
    """
    homes = fleet_homes(context)
    from mailslot.fleet.postgres.sign_in_links import SignInLinks  # noqa: PLC0415 - it needs the extra

    if not SignInLinks(homes.database).withdraw(number):
        raise InputError(f"There is no link {number} that could still be used.", stage="resolve")
    make_console().print(f"The link {number} cannot be used any more.", highlight=False)


def sign_in(
    context: typer.Context,
    *,
    address: Annotated[
        str | None, typer.Option("--address", metavar="URL", help="The https address of the pages; it is remembered.")
    ] = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen.")] = "127.0.0.1:8090",
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A certificate with its chain, PEM; without one, a proxy has to do TLS."),
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate's private key, PEM.")] = None,
    log: Log = None,
) -> None:
    """Serve the pages where owners of mailboxes sign in, until stopped. Any number of processes can run.

    Register ADDRESS/consent/callback, and ADDRESS/consent/admin for administrators, as redirect URIs of the
    application.

    Examples:
        mailslot fleet sign-in --address https://mail-setup.example.com
        mailslot fleet sign-in --listen 0.0.0.0:443 --certificate chain.pem --key key.pem
    """
    homes = fleet_homes(context, 16, for_pages=True)
    from mailslot.fleet.postgres.consents import Consents  # noqa: PLC0415 - it needs the extra

    consents = Consents(homes.database)
    if address is not None:
        consents.set_address(_base(address))
    base = consents.address()
    if base is None:
        raise typer.BadParameter("say at which address the pages are", param_hint="--address")
    tls = _tls(certificate, key)
    host = listen.rpartition(":")[0].strip("[]") or "127.0.0.1"
    if tls is None and host not in {"localhost", "127.0.0.1", "::1"}:
        raise typer.BadParameter(
            f"without a certificate, listen on a loopback address, behind a proxy that does TLS, and not on {host}",
            param_hint="--listen",
        )
    from mailslot.cli.fleet_serving import run_sign_in  # noqa: PLC0415 - most commands do not serve

    run_sign_in(homes, base, listen, tls, log)


def _base(address: str) -> str:
    try:
        parts = urlsplit(str(url(address)))
    except ValueError:
        raise typer.BadParameter(f"{address!r} is not an https address", param_hint="--address") from None
    if parts.path not in {"", "/"} or parts.query or parts.username is not None:
        raise typer.BadParameter("it must have nothing but the host and port: https://HOST", param_hint="--address")
    return f"{parts.scheme}://{parts.netloc}"


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise typer.BadParameter("a certificate and its key go together", param_hint="--certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"The certificate {certificate} cannot be used: {error.strerror or error}.", stage="tls", detail=str(error)
        ) from error
    return context


def _document(tenant: str, device: str, each: SignInLink) -> dict[str, Any]:
    return {
        "id": each.id,
        "tenant": tenant,
        "device": device,
        "records": [*each.records],
        "account": each.account,
        "state": each.state,
        "made_at": iso(each.made_at),
        "expires_at": iso(each.expires_at),
        "granted": {
            record: {"account": found.account, "scopes": [*found.scopes]} for record, found in each.granted.items()
        },
        "cause": each.cause,
        "sentence": each.sentence,
    }
