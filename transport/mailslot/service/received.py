"""Fetched mail for display: sender, subject and state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync

from mailslot.service.header_summary import summarize_header_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailslot.spool.incoming import Incoming, MailState
    from mailslot.spool.spool import Spool


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """A fetched mail.

    Attributes:
        mail: its entry in the ledger.
        sender: its From field, from its file, or from its pipeline's notes once the file was removed; may be empty.
        subject: its Subject field, from the same source.
        pages: the number of its pages, from its pipeline's notes; None if unknown.
    """

    mail: Incoming
    sender: str
    subject: str
    pages: int | None


async def received_mails(
    spool: Spool, record: str | None = None, *, states: Collection[MailState] | None = None, limit: int = 100
) -> list[ReceivedMail]:
    """Return fetched mails, newest first.

    Args:
        spool: the spool.
        record: only mails of this record; None for all.
        states: only mails in these states; None for all.
        limit: the maximum number of mails.

    Raises:
        SpoolError: the spool cannot be read.
    """
    return [await describe_mail(spool, mail) for mail in await spool.ledger.mails(record, states=states, limit=limit)]


async def describe_mail(spool: Spool, mail: Incoming) -> ReceivedMail:
    """Return a mail with its sender and subject.

    Raises:
        SpoolError: the spool cannot be read.
    """
    notes: dict[str, Any] = await spool.store(mail.record.partition("-")[0]).get(f"mail:{mail.id}", {})
    async with spool.ledger.local_file(mail) as path:
        if path is None:
            sender, subject = str(notes.get("from", "")), str(notes.get("subject", ""))
        else:
            summary = await run_sync(summarize_header_of, path)
            sender, subject = summary.sender, summary.subject
    return ReceivedMail(mail, sender, subject, notes.get("pages"))
