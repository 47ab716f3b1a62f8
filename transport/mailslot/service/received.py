"""Fetched mail for display: sender, subject and state, and the mail itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync

from mailslot.errors import InputError, MailError
from mailslot.oauth.shielding import shielded
from mailslot.service.header_summary import MAX_OCTETS, summarize_header

if TYPE_CHECKING:
    from collections.abc import Collection
    from io import FileIO
    from pathlib import Path

    from mailslot.spool.incoming import Incoming, MailState
    from mailslot.spool.ledger import Ledger
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
    head = await spool.ledger.head(mail, MAX_OCTETS)
    if head:
        summary = summarize_header(head)
        sender, subject = summary.sender, summary.subject
    else:
        sender, subject = str(notes.get("from", "")), str(notes.get("subject", ""))
    return ReceivedMail(mail, sender, subject, notes.get("pages"))


async def open_mail_file(ledger: Ledger, mail: Incoming) -> FileIO:
    """Open a fetched mail, which the caller closes; it can be read even if it is removed meanwhile.

    Raises:
        InputError: it is not kept any more.
        MailError: it cannot be read.
    """
    async with ledger.local_file(mail) as path:
        if path is None:
            raise not_kept_error(mail)
        # On asyncio, a cancellation would leave behind what the thread returns.
        return await shielded(lambda: run_sync(_open, mail, path))


def not_kept_error(mail: Incoming) -> InputError:
    """Return the error for a mail whose file was removed."""
    return InputError(
        f"Mail {mail.id} is not kept any more: a mail is deleted once it has been handled.",
        stage="spool",
        cause="mail_state",
    )


def _open(mail: Incoming, path: Path) -> FileIO:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        # It was handled a moment ago.
        raise not_kept_error(mail) from error
    except OSError as error:
        raise MailError(
            f"Mail {mail.id} cannot be read.", stage="spool", cause="spool_unreadable", detail=str(error)
        ) from error
