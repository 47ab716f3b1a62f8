"""Accepting a message as a job: check it, write and sync its file, then insert its row."""

from __future__ import annotations

import math
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import anyio.to_thread

from mailslot.errors import InputError
from mailslot.smtp.content import read_content
from mailslot.spool.errors import full_error
from mailslot.spool.job_envelope import JobEnvelope, check_new_job
from mailslot.spool.limits import format_size
from mailslot.wire.dot_stuffing import LineEndNormalizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.smtp.content import Content
    from mailslot.spool.job import Job, NewJob
    from mailslot.spool.limits import SpoolLimits
    from mailslot.spool.repositories import Repositories, Totals
    from mailslot.spool.storage import MessageFile, Storage

_PIECE_SIZE: Final = 1024 * 1024
_WRITERS: Final = 4

_ROOM_REMEMBERED: Final = 1.0
"""Seconds for which a message may begin because there was room for another one. Whether it is stored is found out when
it is."""


class EarlierKey(NamedTuple):
    """Another key under which the same message may have been accepted.

    Attributes:
        key: the key.
        since: only a job that was accepted later than this counts; in seconds since 1970.
    """

    key: str
    since: float


@dataclass(slots=True)
class Unwritten:
    """What the messages that are being received share: how much of them is in memory, and the threads that write them.

    Attributes:
        octets: the octets of all of them that are in memory, still to be written.
        writers: limits the threads that write, for each has memory of its own.
    """

    octets: int = 0
    writers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_WRITERS))


@dataclass(slots=True)
class RoomFound:
    """For how large a message there was room a moment ago, so that not every message waits for the database.

    Attributes:
        size: the octets for which there was room.
        at: when that was, by the clock of the spool, in seconds since 1970.
    """

    size: int = 0
    at: float = -math.inf

    def suffices(self, size: int, now: float) -> bool:
        """Whether a message of this size in octets may begin without asking the database.

        Args:
            size: the octets.
            now: the time by the clock of the spool.
        """
        return size <= self.size and 0 <= now - self.at < _ROOM_REMEMBERED

    def forget(self) -> None:
        """Forget it, so that the database is asked for the next message."""
        self.at = -math.inf


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Accepts messages into a storage.

    Attributes:
        storage: where they are stored.
        limits: how much is stored.
        clock: returns the time in seconds since 1970.
        unwritten: what the messages that are being received share.
        room: for how large a message there was room a moment ago.
    """

    storage: Storage
    limits: SpoolLimits
    clock: Callable[[], float]
    unwritten: Unwritten = field(default_factory=Unwritten)
    room: RoomFound = field(default_factory=RoomFound)

    async def accept(self, new: NewJob, message: Content) -> Job:
        """Accept a message; see `mailslot.spool.spool.Spool.accept`."""
        new = check_new_job(new, self.limits)
        new = replace(new, message_id=new.message_id or str(getattr(message, "message_id", "")))
        envelope = JobEnvelope(
            new,
            size=message.size,
            eight_bit=message.eight_bit,
            smtputf8=message.smtputf8,
            created_at=self.clock(),
            lifetime=new.lifetime or self.limits.max_lifetime,
        )
        if (existing := await self.storage.read(partial(self._check_admission, envelope))) is not None:
            return existing
        file = self.storage.new_file(".job")
        try:
            line = envelope.encode()
            rest = await _write(message, line, file)
            insert = partial(self.insert, replace(envelope, line_length=len(line)), file)
            return await anyio.to_thread.run_sync(self.storage.commit_file, file, rest, insert)
        except DuplicateKeyError as error:
            return error.job
        finally:
            if not file.closed:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(file.discard)

    def check_size(self, size: int) -> None:
        """Check that a message of this size may be accepted.

        Raises:
            InputError: `message_too_large`.
        """
        if size > self.limits.max_message_size:
            largest = format_size(self.limits.max_message_size)
            raise InputError(
                f"The message has {format_size(size)}; at most {largest} are possible.",
                stage="spool",
                cause="message_too_large",
            )

    async def check_room(self, size: int = 0) -> None:
        """Check that there is, or was a moment ago, room for a message of this size; 0 if it is not known.

        Whether there still is, is checked when it is stored.

        Raises:
            InputError: `message_too_large`.
            SpoolError: `spool_full`.
        """
        self.check_size(size)
        now = self.clock()
        if self.room.suffices(size, now):
            return
        await self.storage.read(partial(self._check_all_room, size))
        self.room.size, self.room.at = size, now

    def _check_admission(self, envelope: JobEnvelope, repositories: Repositories) -> Job | None:
        totals, existing = self._look(repositories, envelope.new)
        if existing is None:
            self.check_size(envelope.size)
            self._check_room(totals, envelope.size)
            self.storage.check_free_space(envelope.size, self.limits.disk_reserve)
        return existing

    def _check_all_room(self, size: int, repositories: Repositories) -> None:
        self._check_room(repositories.totals(), size)
        self.storage.check_free_space(size, self.limits.disk_reserve)

    def _check_room(self, totals: Totals, size: int) -> None:
        """Check that there is room in the database; where this message takes the last of it, the next one asks."""
        limits = self.limits
        jobs, octets = totals.unfinished, totals.octets
        if jobs >= limits.max_jobs:
            raise full_error(
                f"{jobs} jobs are waiting, and no more than {limits.max_jobs} may: deliver or cancel some first."
            )
        if octets + size > limits.max_total_size:
            raise full_error(
                f"The messages that are kept have {format_size(octets)}; with this one of {format_size(size)} "
                f"they would have more than the {format_size(limits.max_total_size)} that are allowed: "
                "deliver or cancel some first."
            )
        if jobs + 1 >= limits.max_jobs or octets + size + self.room.size > limits.max_total_size:
            self.room.forget()

    def insert(
        self, envelope: JobEnvelope, file: MessageFile, repositories: Repositories, earlier: EarlierKey | None = None
    ) -> Job:
        """Insert the row of a job whose file is complete; raises `DuplicateKeyError` if its key is known."""
        if file.size != envelope.line_length + envelope.size:
            raise InputError(
                "The message has another size than it said.",
                stage="data",
                detail=f"{file.size - envelope.line_length} octets instead of {envelope.size}",
            )
        # Another task or process may have accepted something meanwhile.
        totals, existing = self._look(repositories, envelope.new, earlier)
        if existing is not None:
            raise DuplicateKeyError(existing)
        self._check_room(totals, envelope.size)
        return repositories.jobs.insert(envelope, file=file.name, now=self.clock())

    def _look(
        self, repositories: Repositories, new: NewJob, earlier: EarlierKey | None = None
    ) -> tuple[Totals, Job | None]:
        """Return what there is, and the job that was accepted with one of its keys and has its message; else None."""
        own = None if new.key is None else EarlierKey(new.key, -math.inf)
        keys = [each for each in (own, earlier) if each is not None]
        totals = repositories.totals(new.pipeline, [key for key, _ in keys])
        found: Mapping[str, Job] = {}
        if totals.has_key:
            found = repositories.jobs.find_by_keys(new, [key for key, _ in keys])
        for key, since in keys:
            job = found.get(key)
            if job is not None and job.created_at > since and _has_message(job, repositories):
                return totals, job
        return totals, None


def _has_message(job: Job, repositories: Repositories) -> bool:
    """Whether the message of a job is there, or needs not be any more.

    If the machine stops just after a commit has failed, the row may be there later, without the file. Nobody was told
    that this message is accepted.
    """
    file, _ = repositories.jobs.file_of(job.id)
    is_gone = file is not None and not repositories.has_file(file)
    # Recovery has found that it is gone.
    return not is_gone and not (job.state == "failed" and job.cause == "spool_unreadable")


class DuplicateKeyError(Exception):
    """There is a job with this key already.

    Attributes:
        job: that job.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job.id)
        self.job = job


async def _write(message: Content, line: bytes, file: MessageFile) -> bytes:
    """Write the envelope line and the message, with CRLF line ends; return the last octets, still to be written."""
    normalizer = LineEndNormalizer()
    pending, size = [line], len(line)
    async with aclosing(read_content(message)) as pieces:
        async for piece in pieces:
            pending.append(normalizer.feed(piece))
            size += len(pending[-1])
            if size >= _PIECE_SIZE:
                await anyio.to_thread.run_sync(file.write, b"".join(pending))
                pending, size = [], 0
    return b"".join([*pending, normalizer.finish()])
