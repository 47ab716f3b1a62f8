"""``mailslot received``: the mail that was fetched, and what became of it."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio
import typer
from anyio.to_thread import run_sync
from rich.markup import escape

from mailslot.cli.console import make_console, print_json
from mailslot.cli.listing import print_listing
from mailslot.cli.output import check_output, write_output
from mailslot.cli.settings import AsJson
from mailslot.cli.suggestion import suggested_command
from mailslot.errors import InputError
from mailslot.service.json_documents import mail_document
from mailslot.timestamps import local_time, short_local_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.home.home import Home
    from mailslot.service.mail_documents import MailDocument
    from mailslot.service.received import ReceivedMail
    from mailslot.spool.incoming import Incoming

T = TypeVar("T")


class StateName(StrEnum):
    """A mail's state; typer takes no list of `Literal`."""

    FETCHED = "fetched"
    DONE = "done"
    SET_ASIDE = "set_aside"


app = typer.Typer(
    help="The mail that was fetched: list it, show it, save its documents.",
    epilog="mailslot received\nmailslot received --record print-pop --state set_aside",
)

Number = Annotated[int, typer.Argument(metavar="ID", help="A mail's number, as received shows it.")]

_COLOURS = {"done": "green", "fetched": "yellow", "set_aside": "red"}


@app.callback(invoke_without_command=True)
def received(
    context: typer.Context,
    *,
    as_json: AsJson = False,
    record: Annotated[str | None, typer.Option(help="Only mail of this record, such as print-pop.")] = None,
    state: Annotated[list[StateName] | None, typer.Option(help="Only mail in this state; may be repeated.")] = None,
    most: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 100,
) -> None:
    """List the mail that was fetched, and what became of it."""
    if context.invoked_subcommand is not None:
        return
    states = [each.value for each in state or ()]
    found = anyio.run(_found, context.obj, record, states, most)
    if as_json:
        print_json([mail_document(each) for each in found])
        return
    console = make_console()
    if not found:
        console.print("No mail was received.")
        return
    headings = ("ID", "Record", "State", "Received", "From", "Subject", "Pages", "What became of it")
    wrapped = {"From", "Subject", "What became of it"}
    print_listing(console, headings, [_cells(each) for each in found], wrapped=wrapped, right={"Pages"})


def _cells(received: ReceivedMail) -> list[str]:
    mail = received.mail
    return [
        str(mail.id),
        mail.record,
        f"[{_COLOURS[mail.state]}]{mail.state.replace('_', ' ')}[/]",
        short_local_time(mail.fetched_at),
        escape(received.sender),
        escape(received.subject),
        "" if received.pages is None else str(received.pages),
        escape(mail.reason),
    ]


async def _found(home: Home, record: str | None, states: list[Any], most: int) -> list[ReceivedMail]:
    from mailslot.service.received import received_mails as found  # noqa: PLC0415 - the parsers of mail take a moment
    from mailslot.spool.spool import Spool  # noqa: PLC0415 - sqlite takes a moment to import

    async with Spool(home) as spool:
        return await found(spool, record, states=states or None, limit=most)


@app.command("show")
def show(context: typer.Context, number: Number, *, as_json: AsJson = False) -> None:
    """Show a mail: from whom, what became of it, and the documents in it.

    Examples:
        mailslot received show 17
    """
    received, (documents, problem) = anyio.run(_opened, context.obj, number, _documents_of)
    if as_json:
        found = [{"name": each.name, "type": each.content_type, "size": len(each.content)} for each in documents or ()]
        print_json({**mail_document(received), "documents": None if documents is None else found})
        return
    mail = received.mail
    rows = {
        "From": received.sender,
        "State": mail.state.replace("_", " "),
        "What became of it": mail.reason,
        "Record": mail.record,
        "Received": local_time(mail.fetched_at),
        "Octets": f"{mail.size:,}",
        "Pages": "" if received.pages is None else str(received.pages),
    }
    console = make_console()
    console.print(f"[bold]Mail {mail.id}[/bold]: {escape(received.subject or 'without a subject')}", highlight=False)
    listed = [[name, escape(value)] for name, value in rows.items() if value]
    print_listing(console, ("About it", ""), listed, wrapped={""})
    if received.mail.path is None:
        console.print("\nIts file is not kept any more: a mail is deleted once it has been handled.")
        return
    console.print()
    cells = [[escape(each.name), escape(each.content_type), f"{len(each.content):,}"] for each in documents or ()]
    if not cells:
        console.print(escape(problem) or "There is no document in it, only text.")
    else:
        print_listing(console, ("Document", "Type", "Octets"), cells, wrapped={"Document"}, right={"Octets"})
    command = suggested_command(context.obj, "received", "save", str(number), *(() if cells else ("--mail",)))
    console.print(f"To save it: {command}", highlight=False, soft_wrap=True)


@app.command("save")
def save(
    context: typer.Context,
    number: Number,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; this folder without it.")] = Path(),
    *,
    mail: Annotated[bool, typer.Option("--mail", help="Save the mail as it came, as mail-ID.eml.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
) -> None:
    """Save the documents of a mail, or the mail itself, as files.

    Only mail that is kept can be saved: what waits to be handled, and what was set aside.

    Examples:
        mailslot received save 17
        mailslot received save 17 /srv/documents
        mailslot received save 17 --mail
    """
    _, files = anyio.run(_opened, context.obj, number, partial(_files, whole=mail))
    for name in files:
        check_output(folder / name, force=force)
    console = make_console()
    for name, octets in files.items():
        write_output(folder / name, octets, force=force)
        console.print(f"Saved {escape(str(folder / name))} ({len(octets):,} octets).", highlight=False, soft_wrap=True)


def _files(mail: Incoming, *, whole: bool) -> dict[str, bytes]:
    """Return what is saved, by name; the mail itself also where it cannot be taken apart."""
    from mailslot.service.mail_documents import mail_file, read_documents  # noqa: PLC0415 - the list does not need it

    if whole:
        return {f"mail-{mail.id}.eml": mail_file(mail).read_bytes()}
    documents = read_documents(mail)
    if not documents:
        raise InputError(f"There is no document in mail {mail.id}, only text; --mail saves the mail.", stage="spool")
    return {each.name: each.content for each in documents}


def _documents_of(mail: Incoming) -> tuple[list[MailDocument] | None, str]:
    """Return the documents of a mail, None if nobody knows them, and why."""
    from mailslot.service.mail_documents import read_documents  # noqa: PLC0415 - the list does not need it

    try:
        return read_documents(mail), ""
    except InputError as error:
        return None, str(error)


async def _opened(home: Home, number: int, read: Callable[[Incoming], T]) -> tuple[ReceivedMail, T]:
    """Return a mail, and what `read` returns for it while its file is there."""
    from mailslot.service.received import describe_mail  # noqa: PLC0415 - the parsers of mail take a moment
    from mailslot.spool.spool import Spool  # noqa: PLC0415 - sqlite takes a moment to import

    async with Spool(home) as spool:
        found = await describe_mail(spool, await spool.ledger.mail(number))
        async with spool.ledger.local_file(found.mail):
            return found, await run_sync(read, found.mail)
