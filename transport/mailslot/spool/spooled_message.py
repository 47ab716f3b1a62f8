"""The message of a job, read from its file for each attempt."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from mailslot.spool import job_rows
from mailslot.spool.errors import unreadable_error
from mailslot.spool.files import stream_file

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from mailslot.spool.database import Database
    from mailslot.spool.job import Job


class SpooledMessage:
    """A message in the spool, for `mailslot.smtp.session.SmtpSession.submit`.

    Attributes:
        size: its octets.
        eight_bit: whether it holds octets over 127.
        smtputf8: whether its header does.
    """

    def __init__(self, database: Database, folder: Path, job: Job) -> None:
        self._database = database
        self._folder = folder
        self._id = job.id
        self.size: Final = job.size
        self.eight_bit: Final = job.eight_bit
        self.smtputf8: Final = job.smtputf8

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Return the octets, the same at each call.

        Raises:
            SpoolError: `spool_unreadable`, the file is missing or damaged.
        """
        file, start = await self._database.read(lambda connection: job_rows.file_of(connection, self._id))
        if file is None:
            raise unreadable_error(f"The message of job {self._id} is not kept any more.")
        async with aclosing(stream_file(self._folder / file, start, self.size)) as pieces:
            async for piece in pieces:
                yield piece
