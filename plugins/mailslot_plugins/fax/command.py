"""``mailslot fax``: sends documents as an Internet Fax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

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
    from mailslot.home.home import Home
    from mailslot.service.device import Device
    from mailslot.slots.records import Records
    from mailslot.spool.job import Job
    from mailslot_plugins.sending.progress import Progress

app = typer.Typer(help="Internet Fax: send documents to fax machines by mail.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class _SendOptions:
    files: list[str]
    to: list[str]
    subject: str | None
    user: str | None
    confirm: bool | None
    delay: str | None
    wait: bool


@app.callback()
def fax() -> None:
    """Internet Fax: send documents to fax machines by mail."""


@app.command("send")
def send(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE…", help="PDF, TIFF, JPEG, PNG or text; - is standard input."),
    ],
    *,
    to: Annotated[
        list[str],
        typer.Option(metavar="ADDRESS", help="A recipient: an address, FAX=+12027653000@gateway.example, or @NAME."),
    ],
    subject: Annotated[str | None, typer.Option(metavar="S", help="The subject of the mail.")] = None,
    confirm: Annotated[
        bool | None,
        typer.Option(
            "--confirm/--no-confirm",
            help="Whether to request reports of delivery and printing; the setting decides if not given.",
        ),
    ] = None,
    from_user: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Who sends, or @NAME: replies go there.")
    ] = None,
    delay: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Send it later: at a time such as 22:00, or after 90m, 2h or 1d."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the mail server has answered.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send documents as one fax.

    Exits with 3 once the fax is accepted and waits for delivery; with --wait, 0 once it is sent, 1 if it failed.

    Examples:
        mailslot fax send contract.pdf --to fax@example.net --confirm
    """
    home: Home = context.obj
    options = _SendOptions(files, to, subject, from_user, confirm, None if delay is None else parse_delay(delay), wait)
    from mailslot_plugins.sending.progress import Progress  # noqa: PLC0415 - rich takes a while to import

    with Progress(quiet=as_json) as progress:
        job = anyio.run(_send, open_records(home), options, progress)
    if as_json:
        print_json(job_document(job))
    code = print_outcome([job], wait=wait, quiet=as_json)
    if code == EXIT_LATER:
        warn_if_no_service(home)
    raise typer.Exit(code)


async def _send(records: Records, options: _SendOptions, progress: Progress) -> Job:
    from mailslot.service.device import open_device  # noqa: PLC0415 - with it come httpx2 and the rest
    from mailslot_plugins.fax.section import SECTION  # noqa: PLC0415 - likewise
    from mailslot_plugins.rules.section import SECTION as RULES  # noqa: PLC0415 - likewise

    async with open_device(records, [SECTION, RULES]) as device:
        job = await _enqueue(device, options, progress)
        if options.wait:
            from mailslot_plugins.sending.wait import wait_for_delivery  # noqa: PLC0415 - likewise

            progress.start_waiting("Sending …")
            job = await wait_for_delivery(device, job, progress.update_sent)
    return job


async def _enqueue(device: Device, options: _SendOptions, progress: Progress) -> Job:
    from mailslot_plugins.addressbook.lookup import expand_name, expand_names  # noqa: PLC0415 - not needed for --help
    from mailslot_plugins.fax.enqueue import enqueue_fax, parse_recipients  # noqa: PLC0415 - likewise
    from mailslot_plugins.scan.sources import from_files  # noqa: PLC0415 - likewise
    from mailslot_plugins.sending.account import sending_settings  # noqa: PLC0415 - likewise
    from mailslot_plugins.sending.recipients import parse_mailbox  # noqa: PLC0415 - likewise

    # Whatever can be wrong is found before a page is made.
    settings = await sending_settings(device)
    user = None if options.user is None else parse_mailbox(await expand_name(device, options.user), "user's")
    to = parse_recipients(await expand_names(device, options.to, fax=True))
    async with device.working_folder() as folder:
        documents = await from_files(options.files, folder)
        progress.start_waiting("Making the pages …")
        return await enqueue_fax(
            device,
            settings,
            [document.path.absolute() for document in documents],
            folder,
            to=to,
            subject=options.subject,
            user=user,
            confirm=options.confirm,
            delay=options.delay,
        )
