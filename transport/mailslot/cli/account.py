"""``mailslot account``: accounts in addition to the seven slots, for the devices that use this gateway."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer
from rich.markup import escape

from mailslot.cli.console import confirm, make_console, print_json
from mailslot.cli.home import open_records, slot_directory
from mailslot.cli.listing import print_listing
from mailslot.cli.settings import AsJson
from mailslot.cli.slot_list import SIGN_INS, remarks, token_cell
from mailslot.errors import InputError
from mailslot.service.json_documents import slot_rows
from mailslot.slots.accounts import add_account, check_unused, find_account, remove_account
from mailslot.slots.settings import protocol_from, protocol_text
from mailslot.slots.slot import is_account
from mailslot.spool.job import UNFINISHED
from mailslot.vault.errors import VaultError

if TYPE_CHECKING:
    from mailslot.home.home import Home
    from mailslot.slots.records import Records
    from mailslot.slots.slot import Slot

app = typer.Typer(help="Further accounts: add one, list them, remove one.", no_args_is_help=True)

AccountName = Annotated[str, typer.Argument(metavar="NAME", help="The account's name; its slot is account.NAME.")]


class ProtocolName(StrEnum):
    """The protocol of an account or a listener."""

    SMTP = "smtp"
    POP3 = "pop3"


@app.command("add")
def add(
    context: typer.Context,
    name: AccountName,
    *,
    protocol: Annotated[
        ProtocolName, typer.Option(help="smtp for one that sends, pop3 for one that fetches.")
    ] = ProtocolName.SMTP,
) -> None:
    """Add an account. It is set up, tested and given a token like a slot, under the id account.NAME.

    Examples:
        mailslot account add office
        mailslot account add inbox --protocol pop3
    """
    home: Home = context.obj
    slot = add_account(open_records(home), name, protocol_from(protocol.value))
    make_console().print(
        f"{slot.id} was added. Set it up: mailslot set {slot.id} provider=… account=…",
        highlight=False,
        soft_wrap=True,
    )


@app.command("list")
def list_accounts(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the accounts.

    Examples:
        mailslot account list
    """
    home: Home = context.obj
    directory = slot_directory(home)
    if directory.fault is not None:
        raise directory.fault
    slots = [slot for slot in directory.slots if is_account(slot.record)]
    records = open_records(home)
    settings = records.settings.load()
    rows: list[dict[str, Any]] = [
        {"name": row["slot"].partition(".")[2], **row, "account": settings[row["record"]].account}
        for row in anyio.run(slot_rows, records, slots)
    ]
    if as_json:
        print_json(rows)
        return
    console = make_console()
    if not rows:
        console.print("There are no accounts besides the slots. One is added by: mailslot account add NAME")
        return
    headings = ("Slot", "Protocol", "Sign-in", "Token", "Account")
    cells = [
        [
            escape(row["slot"]),
            protocol_text(row["protocol"]),
            SIGN_INS[row["authentication"]],
            token_cell(row),
            escape(row["account"] or ""),
        ]
        for row in rows
    ]
    print_listing(console, headings, cells, wrapped={"Account"})
    for line in remarks(home, rows):
        console.print(line, highlight=False)


@app.command("remove")
def remove(
    context: typer.Context,
    name: AccountName,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove an account with its settings, its password and its token; not while anything uses it.

    Examples:
        mailslot account remove office --yes
    """
    records = open_records(context.obj)
    slot = find_account(records, name)
    check_unused(records.settings.current(), slot)
    anyio.run(_check_queue, records.place, slot)
    confirm(f"Remove {slot.id}, its password and its token?", yes=yes or not _has_secrets(records, slot))
    anyio.run(_remove, records, slot)


async def _check_queue(home: Home, slot: Slot) -> None:
    """Refuse the removal of an account with unsent jobs.

    Raises:
        InputError: jobs wait for it.
        MailError: the queue cannot be read.
    """
    if not home.has_spool():
        return
    from mailslot.spool.spool import Spool  # noqa: PLC0415 - where there is no spool it is not needed

    async with Spool(home) as spool:
        waiting = [job for job in await spool.jobs(states=UNFINISHED, limit=10_000) if job.via == slot.record]
    if waiting:
        what = "1 job is" if len(waiting) == 1 else f"{len(waiting)} jobs are"
        raise InputError(
            f"{what} still to be sent through {slot.id}: wait until it is done, or cancel it: "
            f"mailslot jobs cancel {waiting[0].id}",
            stage="resolve",
        )


def _has_secrets(records: Records, slot: Slot) -> bool:
    """Whether the removal deletes a token or a secret, which cannot simply be entered again."""
    try:
        return bool(records.vault.fields(slot.record))
    except VaultError:
        return True


async def _remove(records: Records, slot: Slot) -> None:
    sentence = await remove_account(records, slot)
    console = make_console()
    console.print(f"{slot.id} is removed.", highlight=False)
    if sentence:
        console.print(escape(sentence))
