"""``mailslot token``: get, delete, moved, rotate-key and status."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
import typer
from anyio.to_thread import run_sync
from rich.markup import escape

from mailslot.cli.console import confirm, make_console, print_json
from mailslot.cli.flow_choice import FLOW_TITLES, print_flow_choice
from mailslot.cli.help_text import steps
from mailslot.cli.home import find_slot, open_records, slot_directory
from mailslot.cli.listing import print_listing
from mailslot.cli.service_hint import warn_if_no_service
from mailslot.cli.settings import AsJson, SlotName
from mailslot.cli.slot_list import remarks, token_cell
from mailslot.cli.suggestion import suggested_command, suggesting_settings
from mailslot.cli.terminal import Terminal
from mailslot.service.json_documents import token_rows
from mailslot.slots.slot import slots_of
from mailslot.timestamps import short_local_time

if TYPE_CHECKING:
    from mailslot.home.home import Home
    from mailslot.oauth.flow import Person
    from mailslot.oauth.grant_source import GrantSource
    from mailslot.slots.records import Records
    from mailslot.slots.slot import Slot

app = typer.Typer(help="The token of a slot: get it, delete it, see its state.", no_args_is_help=True)

FLOW_HELP = " ".join(
    [
        "How to sign in; without it, what the slot or the provider prefers.",
        *(f"{name}: {title[0].lower()}{title[1:]}." for name, title in FLOW_TITLES.items()),
    ]
)
FlowName = Literal["browser", "device", "paste", "app"]


@app.command("get")
def get(
    context: typer.Context,
    slot: SlotName,
    flow: Annotated[FlowName | None, typer.Option(help=FLOW_HELP)] = None,
) -> None:
    """Get a token: sign in once; afterwards the device renews it.

    Examples:
        mailslot token get network.smtp
        mailslot token get network.smtp --flow paste
    """
    home: Home = context.obj
    found = find_slot(home, slot)
    records = open_records(home)
    with suggesting_settings(home, found, lambda: records.settings.load()[found.record]):
        anyio.run(_get, records, found, flow)
    warn_if_no_service(home)


async def _get(records: Records, slot: Slot, flow_name: str | None) -> None:
    from mailslot.oauth.http import TokenHttp  # noqa: PLC0415 - httpx2 takes a while to import
    from mailslot.slots.direct_token_source import direct_token_source  # noqa: PLC0415
    from mailslot.slots.flows import choose_flow  # noqa: PLC0415
    from mailslot.slots.oauth_client import ApplicationMissingError  # noqa: PLC0415
    from mailslot.slots.tokens import OFFLINE_ACCESS, lacks_offline_access  # noqa: PLC0415

    console = make_console()
    settings = (await run_sync(records.settings.load))[slot.record]
    direct = await run_sync(direct_token_source, records.vault, slot.record, settings)
    if direct is not None:
        await direct.token()
        console.print(f"{slot.id} takes its tokens from: {escape(settings.token_source or '')}. It gave one just now.")
        return
    _, health = await records.tokens.status(slot.record, settings, time.time())
    blocked = frozenset[str]() if health is None else health.blocked_flows
    flow = await run_sync(choose_flow, settings, flow_name, blocked)
    async with TokenHttp(ca_file=settings.ca_file) as http:
        try:
            source = records.tokens.source(slot.record, settings, flow, http)
        except ApplicationMissingError as error:
            console.print(f"How to register an application with {error.provider.name}:")
            text = error.provider.registration.replace(
                "mailslot set SLOT", suggested_command(records.place, "set", slot.id)
            )
            console.print(escape("\n".join(steps(text))), highlight=False, soft_wrap=True)
            raise
        confidential = "client_secret" in await run_sync(records.vault.fields, slot.record)
        named = flow_name is not None
        print_flow_choice(console, settings, flow.name, named=named, blocked=blocked, confidential=confidential)
        await _obtain(source, Terminal(console), asks=flow.name == "paste")
    console.print(f"[bold]Retrieved[/bold]: the token of {slot.id} is stored.")
    others = [other.id for other in slots_of(slot.record) if other != slot]
    if others:
        console.print(f"It is the token of {' and '.join(others)} too.")
    _, health = await records.tokens.status(slot.record, settings, time.time())
    for note in health.notes if health is not None else ():
        console.print(f"[yellow]Note:[/yellow] {escape(note)}")
    if lacks_offline_access(health, settings):
        scopes = " ".join([*settings.scopes, OFFLINE_ACCESS])
        command = suggested_command(records.place, "set", slot.id, f"scopes={scopes}")
        console.print("Most providers give one for the scope offline_access. Add it, and get the token again:")
        console.print(f"  {escape(command)}", highlight=False, soft_wrap=True)


async def _obtain(source: GrantSource[Person], terminal: Terminal, *, asks: bool) -> None:
    """Obtain a grant, with a countdown unless the keyboard is needed."""
    if asks:
        await source.obtain(terminal)
        return
    failure: Exception | None = None
    # Only cancellation may leave the task group, which would wrap any other exception in an exception group.
    async with anyio.create_task_group() as group:
        group.start_soon(terminal.count_down)
        try:
            await source.obtain(terminal)
        except Exception as error:  # noqa: BLE001 - raised again below, outside of the task group
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure


@app.command("delete")
def delete(
    context: typer.Context,
    slot: SlotName,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete the token, here and at the provider.

    Examples:
        mailslot token delete network.smtp
        mailslot token delete network.smtp --yes
    """
    home: Home = context.obj
    found = find_slot(home, slot)
    records = open_records(home)
    names = " and ".join(each.id for each in slots_of(found.record) or (found,))
    confirm(f"Delete the token of {names}?", yes=yes)
    anyio.run(_delete, records, found)


async def _delete(records: Records, slot: Slot) -> None:
    console = make_console()
    settings = await run_sync(records.settings.load)
    revocation = await records.tokens.delete(slot.record, settings[slot.record])
    console.print(f"[bold]Not Retrieved[/bold]: there is no token of {slot.id} any more.")
    console.print(escape(revocation.sentence))


@app.command("moved")
def moved(
    context: typer.Context,
    slot: Annotated[str | None, typer.Argument(metavar="[SLOT]", help="One slot; all without it.")] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Confirm that the device was moved, not copied: from now on its tokens are renewed and its jobs sent here.

    Only do this if no other device renews them: two devices with one token invalidate it for each other.

    Examples:
        mailslot token moved
        mailslot token moved fax.pop --yes
    """
    home: Home = context.obj
    slots = slot_directory(home).slots if slot is None else (find_slot(home, slot),)
    records = open_records(home)
    confirm("Is the device that this home folder was on out of use, or was it this one?", yes=yes)
    anyio.run(_moved, records, slots)
    if slot is None:
        anyio.run(_move_queue, records.place)


async def _moved(records: Records, slots: tuple[Slot, ...]) -> None:
    console = make_console()
    found = [
        name for name in dict.fromkeys(slot.record for slot in slots) if await records.tokens.store(name).move_here()
    ]
    names = " and ".join(slot.id for slot in slots if slot.record in found)
    console.print(f"The token of {names} is renewed here from now on." if found else "There is no token.")


async def _move_queue(home: Home) -> None:
    from mailslot.spool.spool import Spool  # noqa: PLC0415 - the other commands do not need it

    if home.has_spool():
        async with Spool(home) as spool:
            await spool.move_here()


@app.command("rotate-key")
def rotate_key(context: typer.Context) -> None:
    """Encrypt all tokens, passwords and secrets with a new key, and delete the old key.

    Use it if somebody may have got the old key, for example from a backup. The service can keep running.

    Examples:
        mailslot token rotate-key
    """
    count = open_records(context.obj).rotate_key()
    make_console().print(
        f"Secrets encrypted with the new key: {count}. The old key is deleted."
        if count
        else "Everything is encrypted with the newest key already."
    )


@app.command("status")
def status(
    context: typer.Context,
    slot: Annotated[str | None, typer.Argument(metavar="[SLOT]", help="One slot; all without it.")] = None,
    *,
    as_json: AsJson = False,
    long: Annotated[bool, typer.Option("--long", help="Also show when each was obtained, and how.")] = False,
) -> None:
    """Show the tokens of all slots, or of one: expiry, account, and problems.

    Examples:
        mailslot token status
        mailslot token status network.smtp --json
    """
    home: Home = context.obj
    slots = slot_directory(home).slots if slot is None else (find_slot(home, slot),)
    rows = anyio.run(token_rows, open_records(home), slots)
    if as_json:
        print_json(rows)
        return
    console = make_console()
    every = long or slot is not None
    headings = ["Slot", "Token", "Expires", "Renewed", "Account"] + (["Obtained", "Flow"] if every else [])
    print_listing(console, headings, [_cells(row)[: len(headings)] for row in rows], wrapped={"Account"})
    for line in remarks(home, rows):
        console.print(line, highlight=False)
    noted = {row["record"]: row for row in reversed(rows)}
    for row in reversed(noted.values()):
        health: dict[str, Any] = row["health"] or {}
        for topic, note in zip(health.get("topics", ()), health.get("notes", ()), strict=True):
            # The remark already says this.
            if (topic, health["cause"]) != ("no_renewal", "token_not_renewable"):
                console.print(f"{row['slot']}: {escape(note)}", highlight=False)


def _cells(row: dict[str, Any]) -> list[str]:
    health: dict[str, Any] = row["health"] or {}
    times = {key: _local(health.get(key)) for key in ("expires_at", "renewed_at", "obtained_at")}
    return [
        row["slot"],
        token_cell(row),
        times["expires_at"],
        times["renewed_at"],
        escape(health.get("account") or ""),
        times["obtained_at"],
        escape(health.get("flow") or ""),
    ]


def _local(timestamp: str | None) -> str:
    return "" if timestamp is None else short_local_time(datetime.fromisoformat(timestamp).timestamp())
