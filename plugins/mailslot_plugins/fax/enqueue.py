"""Puts a fax into the spool."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.spool.job import CONFIRMATION_NOTE, ENVELOPE_ID, NOTIFY, NewJob
from mailslot_plugins.fax.address import fax_address
from mailslot_plugins.fax.capabilities import best_coding
from mailslot_plugins.fax.compose import compose
from mailslot_plugins.fax.reports import PIPELINE
from mailslot_plugins.fax.section import SECTION
from mailslot_plugins.rules.sending_rules import load_rules
from mailslot_plugins.sending.account import HOUR, RECORD, sender_mailbox
from mailslot_plugins.sending.recipients import parse_mailboxes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mailslot.message import Mailbox
    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings
    from mailslot.spool.job import Job
    from mailslot_plugins.sending.submission import RequestIdentity

MAX_RECIPIENTS = 100


def parse_recipients(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses in lists separated by commas, each once, as they are used.

    Raises:
        InputError: some cannot be used, or there are none or too many.
    """
    found = tuple(dict.fromkeys(fax_address(mailbox.address) for mailbox in parse_mailboxes(texts)))
    if not found:
        raise InputError("The fax has no recipients: name them with --to.", stage="envelope")
    if len(found) > MAX_RECIPIENTS:
        raise InputError(
            f"The fax has {len(found)} recipients, and at most {MAX_RECIPIENTS} are allowed. Nothing was sent.",
            stage="envelope",
        )
    return found


async def enqueue_fax(
    device: Device,
    settings: Settings,
    documents: Sequence[Path],
    folder: Path,
    *,
    to: Sequence[str],
    subject: str | None = None,
    user: Mailbox | None = None,
    confirm: bool | None = None,
    delay: str | None = None,
    request: RequestIdentity | None = None,
) -> Job:
    """Put documents into the spool as one fax.

    Args:
        device: the device.
        settings: the settings of the sending account.
        documents: absolute paths.
        folder: where the pages are written.
        to: addresses, as returned by `parse_recipients`.
        subject: the subject; None for a default.
        user: who sends, and gets the replies; None if it is not known.
        confirm: whether reports of delivery and printing are requested; None for the setting.
        delay: until when it waits (`mailslot_plugins.rules.delay.parse_delay`); None for the setting.
        request: identifies the fax, if it was requested by a program or a page that may do so again.

    Raises:
        InputError: a document cannot be read as pages, a rule refuses a recipient, or another request had the same key.
        MailError: the spool has no room, or cannot be written.
    """
    section = device.settings(SECTION)
    rules = await load_rules(device, to)
    rules.check(to, "" if user is None else user.address)
    wants_confirmation: bool = section["confirmation"] if confirm is None else confirm
    fax = await compose(
        documents,
        folder,
        sender=user if user is not None and rules.sender == "user" else sender_mailbox(device, settings),
        reply_to=user,
        to=to,
        subject=subject,
        identity=device.identity,
        settings=section,
        at=device.now(),
        coding="MH" if section["coding"] == "mh" else await best_coding(device.store(PIPELINE), to),
        confirm=wants_confirmation,
    )
    notes = {"pages": str(fax.pages)} | ({} if request is None else request.notes(1))
    if wants_confirmation:
        # Reports are matched by this identifier, which nobody can guess.
        notes |= {NOTIFY: "SUCCESS,FAILURE", ENVELOPE_ID: f"fax-{token_hex(16)}", CONFIRMATION_NOTE: "none yet"}
    new = NewJob(
        pipeline=PIPELINE,
        via=RECORD,
        sender=fax.message.sender.address,
        recipients=[*to, *rules.copies(to)],
        subject=fax.subject,
        lifetime=section["lifetime"] * HOUR,
        key=None if request is None else request.job_key(1),
        notes=notes,
        message_id=fax.message.message_id,
        send_at=rules.send_at(device.now(), delay),
    )
    job = await device.spool.accept(new, fax.message)
    if request is not None:
        request.check(job)
    return job
