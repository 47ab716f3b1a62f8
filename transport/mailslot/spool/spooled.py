"""A job's message, read from its file each time that it is sent."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from mailslot.spool import rows
from mailslot.spool.errors import unreadable
from mailslot.spool.files import stream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from mailslot.spool.database import Database
    from mailslot.spool.job import Job


class SpooledMessage:
    """A message in the spool, as `mailslot.smtp.session.SmtpSession.submit` takes it.

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
        """Give the octets, the same each time.

        Raises:
            SpoolError: `spool_unreadable`, the file is gone or damaged.
        """
        file, start = await self._database.read(lambda connection: rows.file_of(connection, self._id))
        if file is None:
            raise unreadable(f"The message of job {self._id} is not kept any more.")
        async with aclosing(stream(self._folder / file, start, self.size)) as pieces:
            async for piece in pieces:
                yield piece
