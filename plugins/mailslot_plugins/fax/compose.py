"""Composes the mail of an Internet Fax from documents (RFC 3965 section 2)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mailslot.errors import InputError
from mailslot.message import Attachment, Mailbox, Message
from mailslot_plugins.intake.limits import Limits
from mailslot_plugins.intake.process import IntakeError, run_task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mailslot.service.device import Identity
    from mailslot_plugins.fax.coding import Coding

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fax:
    """A fax to be sent."""

    message: Message
    pages: int
    subject: str


async def compose(
    documents: Sequence[Path],
    folder: Path,
    *,
    sender: Mailbox,
    to: Sequence[str],
    subject: str | None,
    identity: Identity,
    settings: Mapping[str, Any],
    at: float,
    coding: Coding = "MH",
    confirm: bool = False,
    reply_to: Mailbox | None = None,
) -> Fax:
    """Compose documents into one fax: profile S in an ``image/tiff`` part.

    Args:
        documents: absolute paths of PDF, TIFF, image or text files, in the order of the pages.
        folder: where the TIFF file is written; it must stay until the mail is accepted.
        sender: the sender, to whom reports are sent.
        to: the recipients.
        subject: the subject; None for a default with the device's name and the number of pages.
        identity: the device's identity.
        settings: the section ``[fax]``.
        at: the time, in seconds since 1970.
        coding: ``MH``, which is profile S; another only if every recipient is known to accept it.
        confirm: whether the recipients are asked to confirm that they printed it (RFC 3965, RFC 8098).
        reply_to: who gets the replies; None for the sender.

    Raises:
        InputError: a document cannot be read as pages.
        SpoolError: there is no room for the pages.
    """
    sent_at = datetime.fromtimestamp(at).astimezone()
    name = identity.name or sender.name or sender.address
    header = ""
    if settings["header_line"]:
        number = settings["own_number"]
        header = "   ".join(filter(None, (name, sender.address, number, sent_at.strftime("%Y-%m-%d %H:%M"))))
    try:
        result = await run_task(
            "fax",
            {
                "paths": [str(path) for path in documents],
                "resolution": settings["resolution"],
                "coding": coding,
                "header": header,
                "into": "fax.tif",
            },
            folder,
            Limits(pages=settings["max_pages"]),
        )
    except IntakeError as error:
        raise InputError(f"The fax cannot be made. {error} Nothing was sent.", stage="data") from None
    for note in result["notes"]:
        logger.warning("The fax is not complete: %s", note)
    pages = int(result["pages"])
    subject = subject or f"Fax from {name} ({pages} page{'' if pages == 1 else 's'})"
    attachment = Attachment.from_path(folder / "fax.tif", name="fax.tif", content_type="image/tiff")
    message = Message(
        sender=sender,
        to=list(to),
        reply_to=reply_to,
        subject=subject,
        date=sent_at,
        attachments=[attachment],
        headers=[("Disposition-Notification-To", sender.address)] if confirm else (),
    )
    return Fax(message, pages, subject)
