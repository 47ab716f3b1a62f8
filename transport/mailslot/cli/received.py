"""``mailslot received``: the mail that was fetched, and what became of it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer
from rich.markup import escape

from mailslot.cli.console import make_console, print_json
from mailslot.cli.listing import print_listing
from mailslot.cli.settings import AsJson
from mailslot.service.json_documents import mail_document
from mailslot.timestamps import short_local_time

if TYPE_CHECKING:
    from mailslot.service.received import ReceivedMail


class StateName(StrEnum):
    """A mail's state; typer takes no list of `Literal`."""

    FETCHED = "fetched"
    DONE = "done"
    SET_ASIDE = "set_aside"


_COLOURS = {"done": "green", "fetched": "yellow", "set_aside": "red"}


def received(
    context: typer.Context,
    *,
    as_json: AsJson = False,
    record: Annotated[str | None, typer.Option(help="Only mail of this record, such as print-pop.")] = None,
    state: Annotated[list[StateName] | None, typer.Option(help="Only mail in this state; may be repeated.")] = None,
    most: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 100,
) -> None:
    """List the mail that was fetched, and what became of it.

    Examples:
        mailslot received
        mailslot received --record print-pop --state set_aside
    """
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


async def _found(home: Path, record: str | None, states: list[Any], most: int) -> list[ReceivedMail]:
    from mailslot.service.received import received_mails as found  # noqa: PLC0415 - the parsers of mail take a moment
    from mailslot.spool.spool import Spool  # noqa: PLC0415 - sqlite takes a moment to import

    async with Spool(home) as spool:
        return await found(spool, record, states=states or None, limit=most)
