"""Sends documents that were handed over as a scan."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot_plugins.addressbook.lookup import expand_name, expand_names
from mailslot_plugins.rules.delay import parse_delay
from mailslot_plugins.scan.compose import compose
from mailslot_plugins.scan.document import inspect_file
from mailslot_plugins.scan.enqueue import enqueue_scan
from mailslot_plugins.scan.prepare import current_size_limit, prepare_scan_message
from mailslot_plugins.scan.sane import Scanner
from mailslot_plugins.scan.section import SECTION
from mailslot_plugins.scan.sources import from_scanner
from mailslot_plugins.sending.account import HOUR, sending_settings
from mailslot_plugins.sending.recipients import parse_mailbox, parse_mailboxes, remove_duplicates
from mailslot_plugins.sending.submission import SubmittedDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.scan.compose import ScanMessage
    from mailslot_plugins.scan.document import Document
    from mailslot_plugins.sending.submission import Submission


async def submit_scan(device: Device, submission: Submission) -> list[Job]:
    """Put documents into the spool as a scan: one mail, or several if it is large and the settings allow it.

    Args:
        device: the device.
        submission: the documents, with the fields ``to``, ``cc``, ``subject``, ``text``, ``user``,
            ``split`` and ``delay``.

    Raises:
        InputError: a field or document cannot be used, or the scan is too large.
        MailError: the spool has no room, or cannot be written.
    """
    section, settings = device.settings(SECTION), await sending_settings(device)
    documents = await run_sync(_inspect, submission.documents)
    scan = await _prepare(device, submission, documents)
    split = submission.flag("split")
    may_split = section["oversize"] == "split" if split is None else split
    limit = await current_size_limit(device, settings)
    mails = await compose(scan, limit, submission.folder, may_split=may_split)
    lifetime = section["lifetime"] * HOUR
    return await enqueue_scan(device.spool, scan, mails, lifetime=lifetime, request=submission.request)


async def acquire_documents(
    device: Device, submission: Submission, progress: Callable[[int, float], None]
) -> list[SubmittedDocument]:
    """Scan pages for a submission.

    Args:
        device: the device; its settings name the scanner.
        submission: the fields of the scan, and the folder for its pages.
        progress: called with the page's number and the scanned fraction of it, 0.0 to 1.0.

    Raises:
        InputError: a field cannot be used; then nothing was scanned.
        ScannerError: there is no complete scan.
    """
    section = device.settings(SECTION)
    await _prepare(device, submission, (), counter=0)
    scanner = Scanner(section["scanner"], section["scanner_source"])
    documents = await from_scanner(scanner, "pdf", submission.folder, progress)
    at = datetime.fromtimestamp(device.now()).astimezone().strftime("%Y-%m-%d %H-%M")
    return [SubmittedDocument(each.path, f"Scan {at}.pdf") for each in documents]


async def _prepare(
    device: Device, submission: Submission, documents: Sequence[Document], counter: int | None = None
) -> ScanMessage:
    named_to = await expand_names(device, submission.texts("to"))
    named_cc = await expand_names(device, submission.texts("cc"))
    parse_mailboxes([*named_to, *named_cc])  # so that one error names all bad addresses
    to, cc = remove_duplicates(parse_mailboxes(named_to), parse_mailboxes(named_cc))
    user, delay = submission.text("user"), submission.text("delay")
    return await prepare_scan_message(
        device,
        await sending_settings(device),
        documents,
        to=to,
        cc=cc,
        user=None if user is None else parse_mailbox(await expand_name(device, user), "user's"),
        subject=submission.text("subject"),
        text=submission.text("text"),
        delay=None if delay is None else parse_delay(delay),
        counter=counter,
    )


def _inspect(documents: Sequence[SubmittedDocument]) -> list[Document]:
    return [inspect_file(each.path, each.name) for each in documents]
