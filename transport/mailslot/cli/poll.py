"""``mailslot poll``: poll once, and pass the mail to its pipeline."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.markup import escape

from mailslot.cli.console import make_console, print_json
from mailslot.cli.home import find_slot, open_records
from mailslot.cli.listing import print_listing
from mailslot.cli.settings import AsJson, SlotName
from mailslot.errors import InputError
from mailslot.service.json_documents import poll_document

if TYPE_CHECKING:
    from mailslot.service.pipeline import Pipeline
    from mailslot.service.poll_report import PollReport
    from mailslot.slots.records import Records

_WAIT = 30.0
"""Seconds to wait for a service that is polling the same slot."""

_COLOURS = {"done": "green", "set aside": "red", "later": "yellow"}


def poll(
    context: typer.Context,
    slot: SlotName,
    *,
    as_json: AsJson = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also try again what was set aside or could not be fetched.")
    ] = False,
) -> None:
    """Fetch the new mail of a slot now, once, and have it handled.

    Examples:
        mailslot poll fax.pop
        mailslot poll print.pop --again
    """
    found = find_slot(context.obj, slot)
    if found.protocol != "POP":
        raise InputError(f"{found.id} sends mail; only a POP slot can be polled.", stage="resolve")
    from mailslot.service.pipeline import find_pipelines, poller_of  # noqa: PLC0415 - the service is slow to import

    pipeline = poller_of(find_pipelines(), found.record)
    if pipeline is None:
        raise InputError(
            f"No pipeline that handles the mail of {found.id} is installed.", stage="resolve", cause="not_configured"
        )
    report = anyio.run(_poll, open_records(context.obj), found.record, pipeline, again)
    if as_json:
        print_json(poll_document(found, report))
    else:
        _show(report)
    if not report.ok:
        sys.stderr.write(f"{report.sentence}\n")
        raise typer.Exit(1)


async def _poll(
    records: Records,
    record: str,
    pipeline: Pipeline,
    again: bool,  # noqa: FBT001 - anyio.run takes no names
) -> PollReport:
    from mailslot.service.device import open_device  # noqa: PLC0415 - as above
    from mailslot.service.poller import poll_once  # noqa: PLC0415

    sections = () if pipeline.section is None else (pipeline.section,)
    async with open_device(records, sections) as device:
        return await poll_once(device, record, pipeline, retry_set_aside=again, wait=_WAIT)


def _show(report: PollReport) -> None:
    console = make_console()
    if report.handled:
        rows: list[list[str]] = []
        for each in report.handled:
            colour = _COLOURS[each.outcome]
            parts = f"[{colour}]{each.outcome}[/{colour}]" + (f": {escape(each.note)}" if each.note else "")
            rows.append([str(each.mail.id), escape(each.sender), escape(each.subject), f"{each.mail.size:,}", parts])
        headings = ("Mail", "From", "Subject", "Octets", "What became of it")
        wrapped = {"From", "Subject", "What became of it"}
        print_listing(console, headings, rows, wrapped=wrapped, right={"Octets"})
    if report.ok:
        console.print(escape(_summary(report)), highlight=False)
    for note in report.notes:
        console.print(f"[yellow]Note:[/yellow] {escape(note)}", highlight=False)


def _summary(report: PollReport) -> str:
    parts = [f"The server lists {report.listed}", f"{report.fetched} fetched", f"{report.deleted} deleted there"]
    for number, words in (
        (report.copies, "known already"),
        (report.passed_over, "from before the first poll"),
        (report.refused, "not fetched"),
        (report.left, "left for the next poll"),
    ):
        if number:
            parts.append(f"{number} {words}")
    return ", ".join(parts) + "."
