"""The mail that was fetched, as people know it: from whom, what it is called, and what became of it."""

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
class Received:
    """A mail that was fetched.

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


async def received(
    spool: Spool, record: str | None = None, *, states: Collection[MailState] | None = None, most: int = 100
) -> list[Received]:
    """Return mails that were fetched, the newest first.

    Args:
        spool: the spool.
        record: only those of this record.
        states: only those in one of these states.
        most: how many.

    Raises:
        SpoolError: it cannot be read.
    """
    return [await described(spool, mail) for mail in await spool.ledger.mails(record, states=states, most=most)]


async def described(spool: Spool, mail: Incoming) -> Received:
    """Return a mail with what people know it by.

    Raises:
        SpoolError: the spool cannot be read.
    """
    noted: dict[str, Any] = await spool.store(mail.record.partition("-")[0]).get(f"mail:{mail.id}", {})
    if mail.path is None:
        sender, subject = str(noted.get("from", "")), str(noted.get("subject", ""))
    else:
        glance = await run_sync(summarize_header_of, mail.path)
        sender, subject = glance.sender, glance.subject
    return Received(mail, sender, subject, noted.get("pages"))
