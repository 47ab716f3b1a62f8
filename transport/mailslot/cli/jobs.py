"""``mailslot jobs``: the queue and the details of a job; sending a job again, or cancelling it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import anyio
import typer
from rich.markup import escape
from rich.table import Table

from mailslot.cli.console import make_console, print_json
from mailslot.cli.listing import print_listing
from mailslot.cli.service_hint import warn_if_no_service
from mailslot.cli.settings import AsJson
from mailslot.service.json_documents import job_document
from mailslot.timestamps import local_time, short_local_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.spool.job import Job
    from mailslot.spool.spool import Spool

T = TypeVar("T")

app = typer.Typer(
    help="The queue: what waits, what was sent, what failed and why.",
    epilog="mailslot jobs\nmailslot jobs --state held --state failed",
)


class StateName(StrEnum):
    """A job's state; typer takes no list of `Literal`."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DEFERRED = "deferred"
    IN_DOUBT = "in_doubt"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HELD = "held"


Number = Annotated[int, typer.Argument(metavar="ID", help="A job's number, as jobs shows it.")]

_COLOURS = {"sent": "green", "failed": "red", "held": "yellow", "deferred": "yellow", "in_doubt": "magenta"}


@app.callback(invoke_without_command=True)
def jobs(
    context: typer.Context,
    *,
    as_json: AsJson = False,
    state: Annotated[list[StateName] | None, typer.Option(help="Only jobs in this state; may be repeated.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Only jobs of this pipeline, such as scan.")] = None,
    most: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 100,
) -> None:
    """List jobs, the newest first."""
    if context.invoked_subcommand is not None:
        return

    async def listed(spool: Spool) -> list[Job]:
        return await spool.jobs(states=[each.value for each in state or ()] or None, pipeline=pipeline, limit=most)

    found = _with_spool(context, listed)
    if as_json:
        print_json([job_document(job) for job in found])
    else:
        _list(found)
    warn_if_no_service(context.obj)


def _list(found: list[Job]) -> None:
    console = make_console()
    if not found:
        console.print("There are no jobs.")
        return
    headings = ("ID", "Pipeline", "State", "To", "Subject", "Accepted", "Next try")
    rows = [
        [
            str(job.id),
            escape(job.pipeline),
            _state(job),
            escape(_addresses(job)),
            escape(job.subject),
            short_local_time(job.created_at),
            short_local_time(job.next_attempt),
        ]
        for job in found
    ]
    print_listing(console, headings, rows, wrapped={"To", "Subject"})
    for job in found:
        if job.sentence and job.state not in {"sent", "cancelled"}:
            console.print(f"{job.id}: {escape(job.sentence)}", highlight=False)


@app.command("show")
def show(context: typer.Context, number: Number, *, as_json: AsJson = False) -> None:
    """Show the details of a job: its recipients, the server's reply, the attempts so far, and the next attempt.

    Examples:
        mailslot jobs show 17
    """
    job = _with_spool(context, lambda spool: spool.job(number))
    if as_json:
        print_json(job_document(job))
        return
    console = make_console()
    console.print(f"[bold]Job {job.id}[/bold]: {escape(job.subject or 'without a subject')}", highlight=False)
    details = Table.grid(padding=(0, 2))
    for name, value in _details(job):
        if value:
            details.add_row(name, value)
    console.print(details)
    headings = ("Recipient", "State", "What the server said")
    rows = [[escape(each.address), each.state, escape(each.reply)] for each in job.recipients]
    console.print()
    print_listing(console, headings, rows, wrapped={"Recipient", "What the server said"})


@app.command("retry")
def retry(context: typer.Context, number: Number) -> None:
    """Send a job again that has failed, is held, is deferred or is in doubt.

    Examples:
        mailslot jobs retry 17
    """
    job = _with_spool(context, lambda spool: spool.retry(number))
    make_console().print(f"Job {job.id} is sent again, to {escape(_addresses(job))}.", highlight=False)
    warn_if_no_service(context.obj)


@app.command("cancel")
def cancel(context: typer.Context, number: Number) -> None:
    """Cancel a job, so that it is not sent.

    Examples:
        mailslot jobs cancel 17
    """
    job = _with_spool(context, lambda spool: spool.cancel(number))
    make_console().print(f"Job {job.id} is cancelled.", highlight=False)


def _with_spool(context: typer.Context, work: Callable[[Spool], Awaitable[T]]) -> T:
    from mailslot.spool.spool import Spool  # noqa: PLC0415 - sqlite takes a moment to import

    async def main() -> T:
        async with Spool(context.obj) as spool:
            return await work(spool)

    return anyio.run(main)


def _details(job: Job) -> list[tuple[str, str]]:
    return [
        ("State", _state(job)),
        ("Why", escape(job.sentence)),
        ("The server said", escape(job.reply)),
        ("Pipeline", escape(f"{job.pipeline}, through {job.via}")),
        ("From", escape(job.sender or "nobody (the null sender)")),
        ("Octets", f"{job.size:,}"),
        ("Message-ID", escape(job.message_id)),
        ("Accepted", local_time(job.created_at)),
        ("Last change", local_time(job.changed_at)),
        ("Tries", str(job.attempts)),
        ("Next try", local_time(job.next_attempt)),
        ("Given up", local_time(job.expires_at) if job.state not in {"sent", "failed", "cancelled"} else ""),
        *((escape(name.replace("_", " ").capitalize()), escape(value)) for name, value in job.notes.items()),
    ]


def _state(job: Job) -> str:
    colour = _COLOURS.get(job.state)
    word = job.state.replace("_", " ")
    return f"[{colour}]{word}[/{colour}]" if colour else word


def _addresses(job: Job) -> str:
    addresses = [each.address for each in job.recipients]
    return ", ".join(addresses[:3]) + (f" and {len(addresses) - 3} more" if len(addresses) > 3 else "")
