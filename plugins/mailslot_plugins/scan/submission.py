"""A scan accepted into the spool: all of its mails, or none."""

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

PIPELINE = "scan"
"""The name that the jobs bear."""


async def submit(
    spool: Spool,
    letter: ScanMessage,
    mails: Sequence[Mail],
    *,
    lifetime: float,
    key: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Job]:
    """Accept the mails of a scan.

    With a key, mails that were accepted before stay accepted where a later one cannot be, and calling again with the
    same key and mails accepts the rest. Without one they are cancelled.

    Args:
        spool: the queue.
        letter: the scan.
        mails: its mails.
        lifetime: the seconds after which they are given up.
        key: what tells this scan from every other; None where it cannot come again.
        progress: called with the octets that were read since it was called last.

    Raises:
        InputError: a file has changed, vanished, or cannot be read.
        MailError: the spool has no room, or cannot be written.
    """
    jobs: list[Job] = []
    try:
        for number, mail in enumerate(mails, start=1):
            new = NewJob(
                pipeline=PIPELINE,
                via=RECORD,
                sender=letter.sender.address,
                recipients=letter.recipients,
                subject=mail.subject,
                lifetime=lifetime,
                key=None if key is None else f"{key}/{number}",
                notes={} if letter.user is None else {"user": letter.user.address},
                message_id=mail.message.message_id,
            )
            jobs.append(await spool.accept(new, _Checked(mail, progress)))
    except BaseException as error:
        left = 0
        if key is None and jobs:
            with anyio.CancelScope(shield=True):
                left = await _cancel(spool, jobs)
        if left and isinstance(error, MailError):
            error.args = (f"{error} Of the {len(mails)} mails of this scan, {left} had left already.",)
        raise
    return jobs


async def _cancel(spool: Spool, jobs: Sequence[Job]) -> int:
    """Cancel jobs; returns how many were too far gone for that."""
    left = 0
    for job in jobs:
        try:
            await spool.cancel(job.id)
        except InputError:
            left += 1
        except MailError:
            # What cannot be written now stays queued, and is told as if it had left.
            left += 1
    return left


class _Checked:
    """A message whose files are looked at again once they were read: one that changed meanwhile is not accepted."""

    def __init__(self, mail: Mail, progress: Callable[[int], None] | None) -> None:
        self._mail = mail
        self._progress = progress
        self.size = mail.message.size
        self.eight_bit = mail.message.eight_bit
        self.smtputf8 = mail.message.smtputf8

    async def chunks(self) -> AsyncGenerator[bytes]:
        left = self.size
        async with aclosing(self._mail.message.chunks()) as pieces:
            async for piece in pieces:
                left -= len(piece)
                if not left:
                    await to_thread.run_sync(self._check)
                yield piece
                if self._progress is not None:
                    self._progress(len(piece))

    def _check(self) -> None:
        for document in self._mail.documents:
            document.check()
