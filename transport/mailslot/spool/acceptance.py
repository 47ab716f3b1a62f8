"""How a message becomes a job: checked, written, flushed, and only then known."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from mailslot.errors import InputError
from mailslot.smtp.content import read
from mailslot.spool import rows
from mailslot.spool.envelope import Envelope, check
from mailslot.spool.errors import full
from mailslot.spool.files import NewFile, check_free, enter_file
from mailslot.spool.limits import megabytes
from mailslot.wire.dots import LineEndNormalizer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.smtp.content import Content
    from mailslot.spool.database import Database
    from mailslot.spool.job import Job, NewJob
    from mailslot.spool.limits import Limits

_PIECE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Takes messages over into a folder and a database; see `mailslot.spool.spool.Spool.accept`."""

    database: Database
    folder: Path
    limits: Limits
    clock: Callable[[], float]

    async def accept(self, new: NewJob, message: Content) -> Job:
        """Take a message over."""
        new = check(new, self.limits)
        new = replace(new, message_id=new.message_id or str(getattr(message, "message_id", "")))
        envelope = Envelope(
            new,
            size=message.size,
            eight_bit=message.eight_bit,
            smtputf8=message.smtputf8,
            created_at=self.clock(),
            lifetime=new.lifetime or self.limits.lifetime,
        )
        if (there := await self.database.read(partial(self._admit, envelope))) is not None:
            return there
        file = NewFile(self.folder, ".job")
        try:
            line = envelope.line()
            rest = await _write(message, line, file)
            enter = partial(self._enter, replace(envelope, length=len(line)), file)
            return await anyio.to_thread.run_sync(file.keep, rest, partial(enter_file, self.database, file, enter))
        except _ThereError as error:
            return error.job
        finally:
            if not file.ended:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(file.discard)

    def _admit(self, envelope: Envelope, connection: sqlite3.Connection) -> Job | None:
        """Return the job that is there already, or see that there is room for another one."""
        limits, size = self.limits, envelope.size
        if envelope.new.key is not None and (there := rows.by_key(connection, envelope.new)) is not None:
            return there
        if size > limits.message:
            raise InputError(
                f"The message has {megabytes(size)}; at most {megabytes(limits.message)} are possible.",
                stage="spool",
                cause="message_too_large",
            )
        self._check_room(connection, size)
        check_free(self.folder, size, limits.spare)
        return None

    def _check_room(self, connection: sqlite3.Connection, size: int) -> None:
        limits = self.limits
        jobs, octets = rows.count_unfinished(connection), rows.octets_kept(connection)
        if jobs >= limits.jobs:
            raise full(f"{jobs} jobs are waiting, and no more than {limits.jobs} may: deliver or cancel some first.")
        if octets + size > limits.octets:
            raise full(
                f"The messages that are kept have {megabytes(octets)}; with this one of {megabytes(size)} they would "
                f"have more than the {megabytes(limits.octets)} that are allowed: deliver or cancel some first."
            )

    def _enter(self, envelope: Envelope, file: NewFile, connection: sqlite3.Connection) -> Job:
        if file.size != envelope.length + envelope.size:
            raise InputError(
                "The message has another size than it said.",
                stage="data",
                detail=f"{file.size - envelope.length} octets instead of {envelope.size}",
            )
        # Others may have accepted in the meantime.
        if envelope.new.key is not None and (there := rows.by_key(connection, envelope.new)) is not None:
            raise _ThereError(there)
        self._check_room(connection, envelope.size)
        number = rows.insert(connection, envelope, file=file.name, now=self.clock())
        return rows.load(connection, number)


class _ThereError(Exception):
    """The key has a job already."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.id)
        self.job = job


async def _write(message: Content, line: bytes, file: NewFile) -> bytes:
    """Write a line and a message, with CRLF line ends, into a file; return the last octets, not written yet."""
    canonical = LineEndNormalizer()
    pending, size = [line], len(line)
    async with aclosing(read(message)) as pieces:
        async for piece in pieces:
            pending.append(canonical.feed(piece))
            size += len(pending[-1])
            if size >= _PIECE:
                await anyio.to_thread.run_sync(file.write, b"".join(pending))
                pending, size = [], 0
    return b"".join([*pending, canonical.finish()])
