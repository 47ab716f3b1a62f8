"""Puts the mails of a scan into the spool: all of them, or none."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from mailslot.errors import InputError, MailError
from mailslot.spool.job import NewJob
from mailslot_plugins.sending.account import RECORD

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from mailslot.spool.job import Job
    from mailslot.spool.spool import Spool
    from mailslot_plugins.scan.compose import Mail, ScanMessage
    from mailslot_plugins.sending.submission import RequestIdentity

PIPELINE = "scan"
"""The pipeline of the jobs."""


async def enqueue_scan(
    spool: Spool,
    scan: ScanMessage,
    mails: Sequence[Mail],
    *,
    lifetime: float,
    key: str | None = None,
    request: RequestIdentity | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Job]:
    """Put the mails of a scan into the spool.

    If a mail cannot be accepted, those before it are cancelled. With a key they stay, and calling again with the same
    key and mails accepts the rest.

    Args:
        spool: the queue.
        scan: the scan.
        mails: its mails.
        lifetime: seconds after which delivery is given up.
        key: identifies this scan; None if it cannot be submitted again.
        request: identifies it instead of a key, if it was requested by a program or a page.
        progress: called with the number of octets read since the last call.

    Raises:
        InputError: a file has changed, vanished, or cannot be read; or another request had the same key.
        MailError: the spool has no room, or cannot be written.
    """
    key = key if request is None else request.key
    notes = {} if request is None else request.notes(len(mails))
    jobs: list[Job] = []
    try:
        for number, mail in enumerate(mails, start=1):
            new = NewJob(
                pipeline=PIPELINE,
                via=RECORD,
                sender=scan.sender.address,
                recipients=scan.recipients,
                subject=mail.subject,
                lifetime=lifetime,
                key=None if key is None else f"{key}/{number}",
                notes=notes | ({} if scan.user is None else {"user": scan.user.address}),
                message_id=mail.message.message_id,
                send_at=scan.send_at,
            )
            job = await spool.accept(new, _VerifiedContent(mail, progress))
            if request is not None:
                request.check(job)
            jobs.append(job)
    except BaseException as error:
        not_cancelled = 0
        if key is None and jobs:
            with anyio.CancelScope(shield=True):
                not_cancelled = await _cancel(spool, jobs)
        if not_cancelled and isinstance(error, MailError):
            error.args = (f"{error} Of the {len(mails)} mails of this scan, {not_cancelled} had left already.",)
        raise
    return jobs


async def _cancel(spool: Spool, jobs: Sequence[Job]) -> int:
    """Cancel jobs; return how many could not be cancelled."""
    not_cancelled = 0
    for job in jobs:
        try:
            await spool.cancel(job.id)
        except InputError:
            not_cancelled += 1
        except MailError:
            # The job stays queued; it is reported as if it had left.
            not_cancelled += 1
    return not_cancelled


class _VerifiedContent:
    """A message that is not accepted if one of its files changes while it is read."""

    def __init__(self, mail: Mail, progress: Callable[[int], None] | None) -> None:
        self._mail = mail
        self._progress = progress
        self.size = mail.message.size
        self.eight_bit = mail.message.eight_bit
        self.smtputf8 = mail.message.smtputf8

    async def chunks(self) -> AsyncGenerator[bytes]:
        remaining = self.size
        async with aclosing(self._mail.message.chunks()) as pieces:
            async for piece in pieces:
                remaining -= len(piece)
                if not remaining:
                    await to_thread.run_sync(self._check_files)
                yield piece
                if self._progress is not None:
                    self._progress(len(piece))

    def _check_files(self) -> None:
        for document in self._mail.documents:
            document.check()
