"""``mailslot scan``: files, standard input or a scanner become mail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import anyio
import typer

from mailslot.cli.console import print_json
from mailslot.cli.home import open_records
from mailslot.cli.service_hint import warn_if_no_service
from mailslot.cli.settings import AsJson  # noqa: TC001 - typer reads it
from mailslot.service.json_documents import job_document
from mailslot_plugins.rules.delay import parse_delay
from mailslot_plugins.sending.outcome import EXIT_LATER, print_outcome

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.home.home import Home
    from mailslot.service.device import Device
    from mailslot.slots.records import Records
    from mailslot.spool.job import Job
    from mailslot_plugins.scan.document import Document
    from mailslot_plugins.sending.progress import Progress

FormatName = Literal["pdf", "tiff", "jpeg", "png"]


@dataclass(frozen=True, slots=True)
class _ScanOptions:
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
    delay: str | None
    wait: bool


def scan(
    context: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE…", help="PDF, TIFF, JPEG or any other files; - is standard input."),
    ] = None,
    *,
    to: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="A recipient, or @NAME of the address book; repeatable.")
    ] = None,
    cc: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="A recipient in copy; likewise.")] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="S", help="The subject; {device}, {date}, {time} … are filled in.")
    ] = None,
    text: Annotated[str | None, typer.Option(metavar="T", help="The text of the mail.")] = None,
    from_user: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Who scans, or @NAME: replies go there. The mail is sent from the account."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="How the files are named, without suffix: {device}_{date} …")
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="SANE", help="A scanner, by its SANE name.")] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Where the paper is: adf, flatbed, duplex or the scanner's own name."),
    ] = None,
    resolution: Annotated[int | None, typer.Option(min=25, max=9600, help="Dots per inch.")] = None,
    mode: Annotated[str | None, typer.Option(metavar="MODE", help="For example Gray, Color or Lineart.")] = None,
    format_: Annotated[FormatName, typer.Option("--format", help="The file format of scanned pages.")] = "pdf",
    split: Annotated[
        bool | None,
        typer.Option(
            "--split/--no-split", help="Whether a large scan becomes several mails; the setting decides if not given."
        ),
    ] = None,
    delay: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Send it later: at a time such as 22:00, or after 90m, 2h or 1d."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the mail server has answered.")] = False,
    as_json: AsJson = False,
) -> None:
    """Mail files, or what a scanner scans.

    Exits with 3 once the scan is accepted and waits for delivery; with --wait, 0 once it is sent, 1 if it failed.

    Examples:
        mailslot scan page.pdf --to alice@example.com --wait
        mailslot scan page1.tif page2.tif --to alice@example.com,bob@example.com --subject 'Contract {date}'
        mailslot scan --device test:0 --source adf --to @accounting
    """
    home: Home = context.obj
    if not files and device is None:
        raise typer.BadParameter("name a file, - for standard input, or a scanner with --device", param_hint="FILE…")
    if not to and not cc:
        raise typer.BadParameter("name a recipient", param_hint="--to")
    options = _ScanOptions(
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
        delay=None if delay is None else parse_delay(delay),
        wait=wait,
    )
    from mailslot_plugins.sending.progress import Progress  # noqa: PLC0415 - rich takes a while to import

    with Progress(quiet=as_json) as progress:
        jobs = anyio.run(_scan, open_records(home), options, progress)
    if as_json:
        print_json([job_document(job) for job in jobs])
    code = print_outcome(jobs, wait=wait, quiet=as_json)
    if code == EXIT_LATER:
        warn_if_no_service(home)
    raise typer.Exit(code)


async def _scan(records: Records, options: _ScanOptions, progress: Progress) -> list[Job]:
    from mailslot.service.device import open_device  # noqa: PLC0415 - with it come httpx2 and the rest
    from mailslot_plugins.rules.section import SECTION as RULES  # noqa: PLC0415 - likewise
    from mailslot_plugins.scan.section import SECTION  # noqa: PLC0415 - likewise

    async with open_device(records, [SECTION, RULES]) as device:
        jobs = await _enqueue(device, options, progress)
        if options.wait:
            from mailslot_plugins.sending.wait import wait_for_delivery  # noqa: PLC0415 - likewise

            progress.start_waiting("Sending …")
            jobs = [await wait_for_delivery(device, job, progress.update_sent) for job in jobs]
    return jobs


async def _enqueue(device: Device, options: _ScanOptions, progress: Progress) -> list[Job]:
    from mailslot_plugins.addressbook.lookup import expand_name, expand_names  # noqa: PLC0415 - not needed for --help
    from mailslot_plugins.scan.compose import compose  # noqa: PLC0415 - likewise
    from mailslot_plugins.scan.enqueue import enqueue_scan  # noqa: PLC0415 - likewise
    from mailslot_plugins.scan.prepare import current_size_limit, prepare_scan_message  # noqa: PLC0415 - likewise
    from mailslot_plugins.scan.section import SECTION  # noqa: PLC0415 - likewise
    from mailslot_plugins.sending.account import HOUR, sending_settings  # noqa: PLC0415 - likewise
    from mailslot_plugins.sending.recipients import parse_mailbox, parse_mailboxes, remove_duplicates  # noqa: PLC0415 - likewise

    section = device.settings(SECTION)
    settings = await sending_settings(device)
    named_to, named_cc = await expand_names(device, options.to), await expand_names(device, options.cc)
    parse_mailboxes([*named_to, *named_cc])  # so that one error names all bad addresses
    to, cc = remove_duplicates(parse_mailboxes(named_to), parse_mailboxes(named_cc))
    user = None if options.user is None else parse_mailbox(await expand_name(device, options.user), "user's")
    # Whatever can be wrong is found before a page is scanned.
    scan_message = await prepare_scan_message(
        device,
        settings,
        (),
        to=to,
        cc=cc,
        user=user,
        subject=options.subject,
        text=options.text,
        name=_name_pattern(options, section["name"]),
        delay=options.delay,
    )
    async with device.working_folder() as folder:
        scan_message = replace(scan_message, documents=await _documents(options, folder, progress))
        may_split = section["oversize"] == "split" if options.split is None else options.split
        progress.start_waiting("Composing …")
        mails = await compose(scan_message, await current_size_limit(device, settings), folder, may_split=may_split)
        progress.start_accepting(sum(mail.message.size for mail in mails))
        return await enqueue_scan(
            device.spool, scan_message, mails, lifetime=section["lifetime"] * HOUR, progress=progress.add_accepted
        )


async def _documents(options: _ScanOptions, folder: Path, progress: Progress) -> list[Document]:
    from mailslot_plugins.scan.sane import Scanner  # noqa: PLC0415 - as above
    from mailslot_plugins.scan.sources import from_files, from_scanner  # noqa: PLC0415 - as above

    documents = await from_files(options.files, folder)
    if options.device is not None:
        scanner = Scanner(options.device, options.source, options.resolution, options.mode)
        documents += await from_scanner(scanner, options.format, folder, progress.update_scan)
    return documents


def _name_pattern(options: _ScanOptions, name: str | None) -> str | None:
    """Return the pattern for file names: scanned pages have no name yet, files keep theirs by default."""
    if options.name is not None or name is not None or options.files:
        return options.name or name
    return "Scan {date} {time}" if options.format in {"pdf", "tiff"} else "Scan {date} {time} {page:3}"
