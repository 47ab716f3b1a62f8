"""Sends documents that were handed over as a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot_plugins.addressbook.book import expand_name, expand_names
from mailslot_plugins.rules.delay import parse_delay
from mailslot_plugins.scan.compose import compose
from mailslot_plugins.scan.document import inspect_file
from mailslot_plugins.scan.enqueue import enqueue_scan
from mailslot_plugins.scan.prepare import current_size_limit, prepare_scan_message
from mailslot_plugins.scan.section import SECTION
from mailslot_plugins.sending.account import HOUR, sending_settings
from mailslot_plugins.sending.recipients import parse_mailbox, parse_mailboxes, remove_duplicates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.scan.document import Document
    from mailslot_plugins.sending.submission import Submission, SubmittedDocument


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
    named_to = await expand_names(device, submission.texts("to"))
    named_cc = await expand_names(device, submission.texts("cc"))
    parse_mailboxes([*named_to, *named_cc])  # so that one error names all bad addresses
    to, cc = remove_duplicates(parse_mailboxes(named_to), parse_mailboxes(named_cc))
    user, split, delay = submission.text("user"), submission.flag("split"), submission.text("delay")
    scan = await prepare_scan_message(
        device,
        settings,
        await run_sync(_inspect, submission.documents),
        to=to,
        cc=cc,
        user=None if user is None else parse_mailbox(await expand_name(device, user), "user's"),
        subject=submission.text("subject"),
        text=submission.text("text"),
        delay=None if delay is None else parse_delay(delay),
    )
    may_split = section["oversize"] == "split" if split is None else split
    limit = await current_size_limit(device, settings)
    mails = await compose(scan, limit, submission.folder, may_split=may_split)
    lifetime = section["lifetime"] * HOUR
    return await enqueue_scan(device.spool, scan, mails, lifetime=lifetime, request=submission.request)


def _inspect(documents: Sequence[SubmittedDocument]) -> list[Document]:
    return [inspect_file(each.path, each.name) for each in documents]
