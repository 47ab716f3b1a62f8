"""From documents to the mail of an Internet Fax (RFC 3965 section 2)."""

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
    """A fax, ready to be sent.

    Attributes:
        message: the mail.
        pages: how many pages it has.
        subject: its subject.
    """

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
) -> Fax:
    """Return documents as one fax: profile S in an ``image/tiff`` part.

    Args:
        documents: PDF, TIFF or images, absolute paths; the pages of one follow those of the one before.
        folder: where the TIFF file goes; it has to stay until the mail is accepted.
        sender: whom it is from, and where reports go.
        to: the recipients.
        subject: the subject; None for one that says what it is.
        identity: what the device says of itself.
        settings: the section ``[fax]``.
        at: when it is sent, in seconds since 1970.
        coding: ``MH``, which is profile S; another only where every recipient is known to take it.
        confirm: whether the recipients are asked to say that they have printed it (RFC 3965, RFC 8098).

    Raises:
        InputError: a document cannot be read as pages.
    """
    moment = datetime.fromtimestamp(at).astimezone()
    name = identity.name or sender.name or sender.address
    head = ""
    if settings["header_line"]:
        number = settings["own_number"]
        head = "   ".join(filter(None, (name, sender.address, number, moment.strftime("%Y-%m-%d %H:%M"))))
    try:
        made = await run_task(
            "fax",
            {
                "paths": [str(path) for path in documents],
                "resolution": settings["resolution"],
                "coding": coding,
                "header": head,
                "into": "fax.tif",
            },
            folder,
            Limits(pages=settings["max_pages"]),
        )
    except IntakeError as error:
        raise InputError(f"The fax cannot be made. {error} Nothing was sent.", stage="data") from None
    for note in made["notes"]:
        logger.warning("The fax is not as it should be: %s", note)
    pages = int(made["pages"])
    subject = subject or f"Fax from {name} ({pages} page{'' if pages == 1 else 's'})"
    attachment = Attachment.from_path(folder / "fax.tif", name="fax.tif", content_type="image/tiff")
    message = Message(
        sender=sender,
        to=list(to),
        subject=subject,
        date=moment,
        attachments=[attachment],
        headers=[("Disposition-Notification-To", sender.address)] if confirm else (),
    )
    return Fax(message, pages, subject)
