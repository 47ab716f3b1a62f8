"""The durable queue: an accepted job is on the disk, and stays there until it is finished.

Several processes may have it open; one at a time delivers, under `Spool.delivery_lock`. Messages are stored as they are
sent, so each attempt sends the same octets.
"""

from __future__ import annotations

import time
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from mailslot.errors import InputError
from mailslot.home.folder import home_of
from mailslot.spool import retention
from mailslot.spool.acceptance import Acceptance
from mailslot.spool.delivery_queue import DeliveryQueue
from mailslot.spool.errors import SpoolError
from mailslot.spool.job import DEVICE_NOTE, NewJob
from mailslot.spool.ledger import Ledger
from mailslot.spool.limits import SpoolLimits
from mailslot.spool.open_storage import open_storage
from mailslot.spool.spooled_message import SpooledMessage
from mailslot.spool.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from mailslot.home.home import Home
    from mailslot.smtp.content import Content
    from mailslot.spool.job import Job, State
    from mailslot.spool.repositories import DatabaseLoss, Repositories
    from mailslot.spool.transaction import SpoolTransaction

_PAGE: Final = 500
"""Jobs that are read at once."""


class Spool(DeliveryQueue):
    """The queue of a device, with the ledger of fetched mail and the stores of the pipelines.

    Use it as ``async with Spool(home) as spool``. Every method may raise:

    - `InputError`: there is no such job (`unknown_job`), or its state does not allow the request (`job_state`).
    - `SpoolError`: `spool_full`, `spool_unwritable`, `spool_unreadable` or `spool_busy`; accepted jobs are unharmed.

    Args:
        home: the home, or its folder.
        limits: the limits.
        clock: returns the time in seconds since 1970.

    Attributes:
        acceptance: what a message needs that arrives as a stream, `mailslot.spool.job_file.JobFile`.
        ledger: the fetched mail.
        recovered_count: how many jobs and mails were recovered from their files because the database was missing or
            damaged when the spool was opened; if not 0, the administrator should know.
    """

    def __init__(
        self, home: Path | Home, *, limits: SpoolLimits | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(open_storage(home_of(home), clock), clock)
        self._limits = limits or SpoolLimits()
        self.acceptance = Acceptance(self._storage, self._limits, clock)
        self.ledger = Ledger(self._storage, self._limits, clock)

    async def __aenter__(self) -> Self:
        try:
            await anyio.to_thread.run_sync(self._storage.open)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._storage.close)

    @property
    def recovered_count(self) -> int:
        """How many jobs and mails were recovered from their files when the spool was opened."""
        return self._storage.adopted.found

    @property
    def loss_error(self) -> SpoolError | None:
        """Why the spool must be reopened; None if it need not be.

        The database was removed, replaced or damaged while it was open.
        """
        return self._storage.loss_error

    async def check(self) -> None:
        """Check that the database is still there and sound; if not, raise, and set `loss_error`."""
        await anyio.to_thread.run_sync(self._storage.check)

    def file_versions(self) -> object:
        """Return a value that changes when the files of the database are removed, replaced or changed."""
        return self._storage.file_versions()

    async def losses(self) -> list[DatabaseLoss]:
        """Return all losses of the database, oldest first; each time it was recreated from the message files."""
        return await self._storage.read(lambda repositories: repositories.losses())

    def store(self, name: str) -> Store:
        """Return the store of a pipeline."""
        return Store(self._storage, name)

    # Accepting and reading

    async def accept(self, new: NewJob, message: Content) -> Job:
        """Accept a message; once this returns, it is on the disk.

        Args:
            new: the job.
            message: the message; it is read once, as a stream, and stored with CRLF line ends.

        Returns:
            the job, in state `queued`, or `deferred` until `NewJob.send_at`; or the job that was accepted with the same
            key before, in any state. If that one's row was deleted, only its id and state are valid, and it has no
            recipients.

        Raises:
            InputError: the message cannot be read, has another size than announced, or the job is not valid.
            SpoolError: `spool_full`, with the numbers; nothing was accepted.
        """
        return await self.acceptance.accept(new, message)

    async def job_with_key(self, pipeline: str, key: str) -> Job | None:
        """Return the job that was accepted with a key; None if there was none.

        If that one's row was deleted, only its id and state are valid, and it has no recipients.
        """
        new = NewJob(pipeline=pipeline, via="", sender="", recipients=())
        return await self._storage.read(lambda repositories: repositories.jobs.find_by_keys(new, [key]).get(key))

    async def jobs(
        self,
        *,
        states: Collection[State] | None = None,
        pipeline: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> list[Job]:
        """Return the newest jobs, newest first.

        Args:
            states: only jobs in these states.
            pipeline: only jobs of this pipeline.
            limit: the maximum number of jobs.
            before: only jobs with a lower id, for paging.
        """
        return await self._storage.read(lambda each: each.jobs.newest(states, pipeline, limit, before))

    async def sent_as(self, envelope_ids: Collection[str], message_ids: Collection[str]) -> list[Job]:
        """Return the jobs that a report may be about, of any pipeline, newest first.

        Args:
            envelope_ids: values of the note `ENVELOPE_ID`; the jobs that have one of them are returned.
            message_ids: Message-IDs, ``<…@…>``; where no job has such an envelope id, those with one of these are.
        """
        return await self._storage.read(lambda each: each.jobs.sent_as(envelope_ids, message_ids))

    async def annotate(self, job_id: int, notes: Mapping[str, str]) -> Job:
        """Add or change notes of a job, in any state."""

        def work(repositories: Repositories) -> Job:
            job = repositories.jobs.load(job_id)
            return repositories.jobs.annotate(job, {**job.notes, **notes})

        return await self._storage.write(work)

    async def annotate_all(self, notes: Mapping[int, Mapping[str, str]]) -> None:
        """Add or change notes of several jobs, by id, all or none; without effect on those whose rows were deleted."""

        def work(repositories: Repositories) -> None:
            for job_id, new_notes in notes.items():
                with suppress(InputError):
                    job = repositories.jobs.load(job_id)
                    repositories.jobs.annotate(job, {**job.notes, **new_notes})

        await self._storage.write(work)

    async def undelivered(self, pipeline: str, *, accepted_before: float) -> AsyncGenerator[Job]:
        """Yield the jobs of a pipeline that somebody may have to be told about, oldest first.

        These are failed jobs, sent jobs that have not reached all recipients, by the server's replies or by reports,
        and unfinished jobs whose sending is not delayed.

        Args:
            pipeline: the pipeline.
            accepted_before: only unfinished jobs that were accepted before this time.
        """
        after, limit = 0, _PAGE
        # Nothing is accepted while a page is read.
        while found := await self._storage.read(
            lambda each: each.jobs.undelivered(pipeline, accepted_before, after, limit)  # noqa: B023 - read at once
        ):
            for job in found:
                if not job.is_delayed(self._clock()):
                    yield job
            after = found[-1].id

    async def count_by_state(self) -> Mapping[State, int]:
        """Return the number of jobs in each state."""
        return await self._storage.read(lambda repositories: repositories.jobs.count_by_state())

    async def count_by_pipeline(self) -> list[tuple[str, State, int, float]]:
        """Return, for each pipeline and state that has jobs, their number and when the oldest was accepted."""
        return await self._storage.read(lambda repositories: repositories.jobs.count_by_pipeline())

    async def count_by_device(self) -> list[tuple[str, State, int, float]]:
        """Return, for each device and state that has jobs, their number and when the newest was accepted."""
        return await self._storage.read(lambda repositories: repositories.jobs.count_by_note(DEVICE_NOTE))

    async def held_by_record(self) -> Mapping[str, tuple[int, int]]:
        """Return, for each record that has held jobs, their number and the id of the newest."""
        return await self._storage.read(lambda repositories: repositories.jobs.held_by_record())

    def content(self, job: Job) -> SpooledMessage:
        """Return a job's message, for `mailslot.smtp.session.SmtpSession.submit`."""
        return SpooledMessage(self._storage, job)

    # Place and time

    async def move_here(self) -> None:
        """Remember that the spool is here and no copy, wherever it was before: a person says that it was moved."""
        try:
            async with self.delivery_lock():
                await anyio.to_thread.run_sync(self._storage.move_here)
        except SpoolError as error:
            # If somebody delivers here, that has been remembered.
            if error.cause != "spool_busy":
                raise

    async def prune(self, now: float | None = None) -> None:
        """Expire jobs that have waited too long, and delete old files and rows."""
        timestamp = self._clock() if now is None else now
        await anyio.to_thread.run_sync(retention.prune, self._storage, self._limits, timestamp)

    async def expire(self) -> None:
        """Expire jobs that have waited too long."""
        await anyio.to_thread.run_sync(retention.expire, self._storage, self._limits, self._clock())

    async def shift_times(self, seconds: float, *, up: float = 0.0) -> None:
        """Shift the times of unfinished jobs, and of what ended by the wrong clock, after the clock was set.

        Args:
            seconds: by how many seconds it was set forward; negative if it was set back.
            up: for how many seconds before the clock was in use here.
        """

        def work(transaction: SpoolTransaction) -> None:
            transaction.jobs.shift_times(seconds, transaction.now, up)
            transaction.mails.shift_times(seconds, transaction.now, up)

        await self._run(work)

    async def changes(self) -> AsyncGenerator[None]:
        """Yield at once, and then after changes by this or another process; several may be reported together.

        Use it with `contextlib.aclosing`.
        """
        async with aclosing(self._storage.changes()) as each:
            async for _ in each:
                yield

    async def watch(self, job_id: int) -> AsyncGenerator[Job]:
        """Yield a job at once, and then after each change. Use it with `contextlib.aclosing`.

        Short-lived states may be skipped, but never the last one.
        """
        seen: Job | None = None
        async with aclosing(self._storage.changes()) as each:
            async for _ in each:
                job = await self.job(job_id)
                if job != seen:
                    seen = job
                    yield job
