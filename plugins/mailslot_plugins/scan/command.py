"""``mailslot scan``: files, standard input or a scanner become mail."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import anyio
import typer

from mailslot.cli.home import open_records
from mailslot.cli.service_hint import warn_if_no_service
from mailslot.cli.settings import AsJson  # noqa: TC001 - typer reads it
from mailslot.service.json_documents import job_document
from mailslot_plugins.sending.outcome import LATER, tell

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.slots.records import Records
    from mailslot.spool.job import Job
    from mailslot_plugins.scan.document import Document
    from mailslot_plugins.sending.progress import Progress

FormatName = Literal["pdf", "tiff", "jpeg", "png"]


@dataclass(frozen=True, slots=True)
class _Wanted:
    files: list[str]
    to: list[str]
    cc: list[str]
    subject: str | None
    text: str | None
    user: str | None
    name: str | None
    device: str | None
    source: str | None
    resolution: int | None
    mode: str | None
    format: FormatName
    split: bool | None
    wait: bool


def scan(
    context: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE…", help="PDF, TIFF, JPEG or any other files; - is standard input."),
    ] = None,
    *,
    to: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="To whom; several times, or with commas.")
    ] = None,
    cc: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="To whom in copy; likewise.")] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="S", help="The subject; {device}, {date}, {time} … are filled in.")
    ] = None,
    text: Annotated[str | None, typer.Option(metavar="T", help="The text of the mail.")] = None,
    from_user: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Who scans: answers go there. The mail is from the account.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="What the files are called, without suffix: {device}_{date} …")
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="SANE", help="A scanner, by SANE's name of it.")] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Where the paper is: adf, flatbed, duplex or the scanner's word."),
    ] = None,
    resolution: Annotated[int | None, typer.Option(min=25, max=9600, help="Dots an inch.")] = None,
    mode: Annotated[str | None, typer.Option(metavar="MODE", help="Such as Gray, Color or Lineart.")] = None,
    format_: Annotated[FormatName, typer.Option("--format", help="What scanned pages become.")] = "pdf",
    split: Annotated[
        bool | None,
        typer.Option("--split/--no-split", help="Whether a large scan becomes several mails; else what is set."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="End when the mail server has answered.")] = False,
    as_json: AsJson = False,
) -> None:
    """Mail files, or what a scanner scans.

    Exits 3 once it is accepted and still to be delivered; with --wait 0 once it is sent, 1 where it failed.
    """
    home: Path = context.obj
    if not files and device is None:
        raise typer.BadParameter("name a file, - for standard input, or a scanner with --device", param_hint="FILE…")
    if not to and not cc:
        raise typer.BadParameter("say to whom", param_hint="--to")
    wanted = _Wanted(
        files=files or [],
        to=to or [],
        cc=cc or [],
        subject=subject,
        text=text,
        user=from_user,
        name=name,
        device=device,
        source=source,
        resolution=resolution,
        mode=mode,
        format=format_,
        split=split,
        wait=wait,
    )
    from mailslot_plugins.sending.progress import Progress  # noqa: PLC0415 - rich takes a while to import

    with Progress(quiet=as_json) as progress:
        jobs = anyio.run(_scan, open_records(home), wanted, progress)
    if as_json:
        sys.stdout.write(json.dumps([job_document(job) for job in jobs], indent=2) + "\n")
    code = tell(jobs, wait=wait, quiet=as_json)
    if code == LATER:
        warn_if_no_service(home)
    raise typer.Exit(code)


async def _scan(records: Records, wanted: _Wanted, progress: Progress) -> list[Job]:
    from mailslot.service.device import open_device  # noqa: PLC0415 - with it come httpx2 and the rest
    from mailslot_plugins.scan.section import SCAN  # noqa: PLC0415 - likewise

    async with open_device(records, [SCAN]) as device:
        jobs = await _accept(device, wanted, progress)
        if wanted.wait:
            from mailslot_plugins.sending.waiting import wait_for  # noqa: PLC0415 - likewise

            progress.waiting("Sending …")
            jobs = [await wait_for(device, job.id, progress.sent) for job in jobs]
    return jobs


async def _accept(device: Device, wanted: _Wanted, progress: Progress) -> list[Job]:
    from tempfile import TemporaryDirectory  # noqa: PLC0415 - not needed for --help

    from mailslot_plugins.scan.compose import compose  # noqa: PLC0415 - likewise
    from mailslot_plugins.scan.prepare import limit_of, scan_message  # noqa: PLC0415 - likewise
    from mailslot_plugins.scan.section import SCAN  # noqa: PLC0415 - likewise
    from mailslot_plugins.scan.submission import submit  # noqa: PLC0415 - likewise
    from mailslot_plugins.sending.account import HOUR, record_settings  # noqa: PLC0415 - likewise
    from mailslot_plugins.sending.recipients import once, parse_mailbox, parse_mailboxes  # noqa: PLC0415 - likewise

    section = device.settings(SCAN)
    settings = await record_settings(device)
    parse_mailboxes([*wanted.to, *wanted.cc])  # so that all bad ones are named at once
    to, cc = once(parse_mailboxes(wanted.to), parse_mailboxes(wanted.cc))
    # All that can be wrong is, before a page is scanned.
    letter = await scan_message(
        device,
        settings,
        (),
        to=to,
        cc=cc,
        user=None if wanted.user is None else parse_mailbox(wanted.user, "user's"),
        subject=wanted.subject,
        text=wanted.text,
        name=_name(wanted, section["name"]),
    )
    with TemporaryDirectory(prefix="mailslot-scan-") as path:
        folder = Path(path)
        letter = replace(letter, documents=await _documents(wanted, folder, progress))
        may_split = section["oversize"] == "split" if wanted.split is None else wanted.split
        progress.waiting("Composing …")
        mails = await compose(letter, await limit_of(device, settings), folder, may_split=may_split)
        progress.accepting(sum(mail.message.size for mail in mails))
        return await submit(
            device.spool, letter, mails, lifetime=section["lifetime"] * HOUR, progress=progress.accepted
        )


async def _documents(wanted: _Wanted, folder: Path, progress: Progress) -> list[Document]:
    from mailslot_plugins.scan.sane import Scanner  # noqa: PLC0415 - as above
    from mailslot_plugins.scan.sources import from_files, from_scanner  # noqa: PLC0415 - as above

    documents = await from_files(wanted.files, folder)
    if wanted.device is not None:
        scanner = Scanner(wanted.device, wanted.source, wanted.resolution, wanted.mode)
        documents += await from_scanner(scanner, wanted.format, folder, progress.scanned)
    return documents


def _name(wanted: _Wanted, name: str | None) -> str | None:
    """Return the pattern of names; what comes from a scanner has none of its own."""
    if wanted.name is not None or name is not None or wanted.files:
        return wanted.name or name
    return "Scan {date} {time}" if wanted.format in {"pdf", "tiff"} else "Scan {date} {time} {page:3}"
