"""A fax accepted into the spool."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.spool.job import ENVELOPE_ID, NOTIFY, NewJob
from mailslot_plugins.fax.address import fax_address
from mailslot_plugins.fax.capabilities import coding_for
from mailslot_plugins.fax.compose import compose
from mailslot_plugins.fax.reports import PIPELINE
from mailslot_plugins.fax.section import FAX
from mailslot_plugins.sending.account import HOUR, RECORD, sender_of
from mailslot_plugins.sending.confirmation import OVERALL
from mailslot_plugins.sending.recipients import parse_mailboxes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings
    from mailslot.spool.job import Job

MAX_RECIPIENTS = 100


def recipients_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses of lists with commas, each once, as they are used.

    Raises:
        InputError: some cannot be used, there are none, or too many.
    """
    found = tuple(dict.fromkeys(fax_address(mailbox.address) for mailbox in parse_mailboxes(texts)))
    if not found:
        raise InputError("Nobody is to receive the fax: say to whom with --to.", stage="envelope")
    if len(found) > MAX_RECIPIENTS:
        raise InputError(
            f"The fax has {len(found)} recipients, and at most {MAX_RECIPIENTS} are allowed. Nothing was sent.",
            stage="envelope",
        )
    return found


async def submit(
    device: Device,
    settings: Settings,
    documents: Sequence[Path],
    folder: Path,
    *,
    to: Sequence[str],
    subject: str | None = None,
    confirm: bool | None = None,
) -> Job:
    """Accept documents as one fax.

    Args:
        device: the device.
        settings: those of the record that faxes leave through.
        documents: absolute paths.
        folder: where the pages are made.
        to: addresses, as `recipients_of` returns them.
        subject: the subject; None for one that says what it is.
        confirm: whether delivery and printing are to be reported; None as it is set.

    Raises:
        InputError: a document cannot be read as pages.
        MailError: the spool has no room, or cannot be written.
    """
    section = device.settings(FAX)
    asks: bool = section["confirmation"] if confirm is None else confirm
    fax = await compose(
        documents,
        folder,
        sender=sender_of(device, settings),
        to=to,
        subject=subject,
        identity=device.identity,
        settings=section,
        at=device.now(),
        coding="MH" if section["coding"] == "mh" else await coding_for(device.store(PIPELINE), to),
        confirm=asks,
    )
    notes = {"pages": str(fax.pages)}
    if asks:
        # What comes back is about this fax, and nobody can guess it.
        notes |= {NOTIFY: "SUCCESS,FAILURE", ENVELOPE_ID: f"fax-{token_hex(16)}", OVERALL: "none yet"}
    new = NewJob(
        pipeline=PIPELINE,
        via=RECORD,
        sender=fax.message.sender.address,
        recipients=to,
        subject=fax.subject,
        lifetime=section["lifetime"] * HOUR,
        notes=notes,
        message_id=fax.message.message_id,
    )
    return await device.spool.accept(new, fax.message)
