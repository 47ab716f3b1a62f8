"""The message of a job, read from its file for each attempt."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from mailslot.spool.errors import unreadable_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mailslot.spool.job import Job
    from mailslot.spool.repositories import Repositories
    from mailslot.spool.storage import Storage


class SpooledMessage:
    """A message in the spool, for `mailslot.smtp.session.SmtpSession.submit`.

    Attributes:
        size: its octets.
        eight_bit: whether it holds octets over 127.
        smtputf8: whether its header does.
    """

    def __init__(self, storage: Storage, job: Job) -> None:
        self._storage = storage
        self._id = job.id
        self.size: Final = job.size
        self.eight_bit: Final = job.eight_bit
        self.smtputf8: Final = job.smtputf8

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Return the octets, the same at each call.

        Raises:
            SpoolError: `spool_unreadable`, the file is missing or damaged.
        """
        async with aclosing(self._storage.stream(self._find, self.size)) as pieces:
            async for piece in pieces:
                yield piece

    def _find(self, repositories: Repositories) -> tuple[str, int]:
        """Return the name of the file, and the offset of the message in it."""
        file, start = repositories.jobs.file_of(self._id)
        if file is None:
            raise unreadable_error(f"The message of job {self._id} is not kept any more.")
        return file, start
