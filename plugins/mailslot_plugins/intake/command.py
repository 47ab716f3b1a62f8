"""``mailslot received``: the fetched mail, and its state."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer
from anyio.to_thread import run_sync
from rich.markup import escape

from mailslot.cli.console import make_console, print_json
from mailslot.cli.listing import print_listing
from mailslot.cli.output import check_output, write_output
from mailslot.cli.settings import AsJson  # noqa: TC001 - typer reads it
from mailslot.cli.suggestion import suggested_command
from mailslot.errors import InputError
from mailslot.service.json_documents import mail_document
from mailslot.timestamps import local_time, short_local_time

if TYPE_CHECKING:
    from mailslot.home.home import Home
    from mailslot.service.received import ReceivedMail
    from mailslot_plugins.intake.mail_documents import MailDocument


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
    received, documents, problem = anyio.run(_opened, context.obj, number)
    if as_json:
        found = [{"name": each.name, "type": each.content_type, "size": each.size} for each in documents or ()]
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
    cells = [[escape(each.name), escape(each.content_type), f"{each.size:,}"] for each in documents or ()]
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
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
) -> None:
    """Save the documents of a mail, or the mail itself, as files.

    Only mail that is kept can be saved: what waits to be handled, and what was set aside.

    Examples:
        mailslot received save 17
        mailslot received save 17 /srv/documents
        mailslot received save 17 --mail
    """
    action = partial(_save_mail if mail else _save_documents, context.obj, number, folder, force=force)
    console = make_console()
    for path, size in anyio.run(action):
        console.print(f"Saved {escape(str(path))} ({size:,} octets).", highlight=False, soft_wrap=True)


async def _opened(home: Home, number: int) -> tuple[ReceivedMail, list[MailDocument] | None, str]:
    """Return a mail and its documents; None and the reason if they cannot be read."""
    from mailslot.service.received import describe_mail  # noqa: PLC0415 - the parsers of mail take a moment
    from mailslot.spool.spool import Spool  # noqa: PLC0415 - sqlite takes a moment to import
    from mailslot.spool.working_folders import working_folder  # noqa: PLC0415 - as above
    from mailslot_plugins.intake.mail_documents import take_documents  # noqa: PLC0415 - the list does not need it

    async with Spool(home) as spool:
        found = await describe_mail(spool, await spool.ledger.mail(number))
        if found.mail.path is None:
            return found, None, ""
        async with working_folder(home.folder / "work") as work:
            try:
                return found, await take_documents(spool.ledger, found.mail, work, ()), ""
            except InputError as error:
                return found, None, str(error)


async def _save_mail(home: Home, number: int, folder: Path, *, force: bool) -> list[tuple[Path, int]]:
    """Save a mail, even if it cannot be parsed; return its file and the size of the file."""
    from mailslot.service.received import open_mail_file  # noqa: PLC0415 - as above
    from mailslot.spool.spool import Spool  # noqa: PLC0415 - as above

    path = folder / f"mail-{number}.eml"
    async with Spool(home) as spool:
        mail = await spool.ledger.mail(number)
        with await open_mail_file(spool.ledger, mail) as file:
            await run_sync(partial(write_output, path, file, force=force))
    return [(path, mail.size)]


async def _save_documents(home: Home, number: int, folder: Path, *, force: bool) -> list[tuple[Path, int]]:
    """Save the documents of a mail, or none if a file exists already; return the files and their sizes."""
    from mailslot.spool.spool import Spool  # noqa: PLC0415 - as above
    from mailslot.spool.working_folders import working_folder  # noqa: PLC0415 - as above
    from mailslot_plugins.intake.mail_documents import take_documents  # noqa: PLC0415 - as above

    async with Spool(home) as spool, working_folder(home.folder / "work") as work:
        documents = await take_documents(spool.ledger, await spool.ledger.mail(number), work)
        if not documents:
            raise InputError(f"There is no document in mail {number}, only text; --mail saves the mail.", stage="spool")
        await run_sync(partial(_write, documents, folder, force=force))
    return [(folder / each.name, each.size) for each in documents]


def _write(documents: list[MailDocument], folder: Path, *, force: bool) -> None:
    for each in documents:
        check_output(folder / each.name, force=force)
    for each in documents:
        with each.path.open("rb") as file:
            write_output(folder / each.name, file, force=force)
