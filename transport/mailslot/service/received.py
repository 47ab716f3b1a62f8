"""The fetched mail as people know it: sender, subject, and what became of it."""

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
        mail: what the ledger knows of it.
        sender: its From, from its file or, once that is gone, as its pipeline has noted it; may be empty.
        subject: its Subject, likewise.
        pages: how many pages its pipeline has counted in it; None where it has not.
    """

    mail: Incoming
    sender: str
    subject: str
    pages: int | None


async def received_mails(
    spool: Spool, record: str | None = None, *, states: Collection[MailState] | None = None, limit: int = 100
) -> list[ReceivedMail]:
    """Return fetched mails, the newest first.

    Args:
        spool: the spool.
        record: only those of this record.
        states: only those in one of these states.
        limit: the maximum number of mails.

    Raises:
        SpoolError: it cannot be read.
    """
    return [await describe_mail(spool, mail) for mail in await spool.ledger.mails(record, states=states, limit=limit)]


async def describe_mail(spool: Spool, mail: Incoming) -> ReceivedMail:
    """Return a mail with its sender and subject.

    Raises:
        SpoolError: the spool cannot be read.
    """
    notes: dict[str, Any] = await spool.store(mail.record.partition("-")[0]).get(f"mail:{mail.id}", {})
    if mail.path is None:
        sender, subject = str(notes.get("from", "")), str(notes.get("subject", ""))
    else:
        summary = await run_sync(summarize_header_of, mail.path)
        sender, subject = summary.sender, summary.subject
    return ReceivedMail(mail, sender, subject, notes.get("pages"))
