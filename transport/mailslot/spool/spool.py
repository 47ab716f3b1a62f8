"""The durable queue: an accepted job is on the disk, and stays there until it is finished.

Several processes may have it open; one at a time delivers, under `Spool.delivery_lock`. Messages are stored as they are
sent, so each attempt sends the same octets.
"""

from __future__ import annotations

import time
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import anyio.to_thread

from mailslot.errors import InputError
from mailslot.home.folder import home_of
from mailslot.spool import retention, transitions
from mailslot.spool.acceptance import Acceptance
from mailslot.spool.delivery_claims import DeliveryClaims
from mailslot.spool.errors import SpoolError
from mailslot.spool.job import DEVICE_NOTE, NewJob
from mailslot.spool.ledger import Ledger
from mailslot.spool.limits import SpoolLimits
from mailslot.spool.open_storage import open_storage
from mailslot.spool.spooled_message import SpooledMessage
from mailslot.spool.store import Store
from mailslot.spool.transaction import SpoolTransaction, run_transaction

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from mailslot.home.home import Home
    from mailslot.smtp.content import Content
    from mailslot.spool.job import Job, RecipientRefusal, State
    from mailslot.spool.recovery import Recovery
    from mailslot.spool.repositories import DatabaseLoss, Repositories

T = TypeVar("T")

_PAGE: Final = 500
"""Jobs that are read at once."""


class Spool:
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
        self._limits = limits or SpoolLimits()
        self._clock = clock
        self._storage = open_storage(home_of(home), clock)
        self.acceptance = Acceptance(self._storage, self._limits, clock)
        self._claims = DeliveryClaims(self._storage, self.job, self._reclaim)
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

    async def job(self, job_id: int) -> Job:
        """Return a job as it is now."""
        return await self._storage.read(lambda repositories: repositories.jobs.load(job_id))

    async def job_with_key(self, pipeline: str, key: str) -> Job | None:
        """Return the job that was accepted with a key; None if there was none.

        If that one's row was deleted, only its id and state are valid, and it has no recipients.
        """
        new = NewJob(pipeline=pipeline, via="", sender="", recipients=(), key=key)
        return await self._storage.read(lambda repositories: repositories.jobs.find_by_key(new))

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

    # Delivering

    @asynccontextmanager
    async def delivery_lock(self, *, timeout: float = 0.0) -> AsyncGenerator[None]:
        """Hold the delivery lock while the block runs.

        Args:
            timeout: seconds to wait for it; 0 to try once, ``math.inf`` to wait forever.

        Raises:
            SpoolError: `spool_busy`, another process holds it.
        """
        async with self._claims.lock(timeout):
            yield

    async def recover(self) -> Recovery:
        """Recover what a crashed process has left. Needs the delivery lock."""
        self._claims.require_lock()
        return await anyio.to_thread.run_sync(self._storage.recover, self._clock)

    async def move_here(self) -> None:
        """Remember that the spool is here and no copy, wherever it was before: a person says that it was moved."""
        try:
            async with self.delivery_lock():
                await anyio.to_thread.run_sync(self._storage.move_here)
        except SpoolError as error:
            # If somebody delivers here, that has been remembered.
            if error.cause != "spool_busy":
                raise

    async def claim(self, via: str, now: float | None = None, *, job_id: int | None = None) -> Job | None:
        """Return the oldest due job of a record, in state `sending`; None if there is none. Needs the delivery lock.

        Args:
            via: the record.
            now: the time; None for the clock's.
            job_id: claim only this job, whether due or not, if it is queued or deferred; None for any that is due.
        """

        def work(transaction: SpoolTransaction) -> Job | None:
            job = transaction.jobs.next_due(via, transaction.now if now is None else now, job_id)
            return None if job is None else transaction.store(transitions.claim(job, transaction.now))

        self._claims.require_lock()
        job = await self._run(work)
        if job is not None:
            self._claims.claim(job.id)
        return job

    async def first_due_times(self) -> Mapping[str, float]:
        """Return, for each record that has queued or deferred jobs, when the first is due; 0.0 for now."""
        return await self._storage.read(lambda repositories: repositories.jobs.first_due_times())

    async def requeue(self, job_id: int) -> Job:
        """Requeue a job that was not sent; the attempt does not count."""
        return await self._claims.release_after(job_id, self._step(job_id, transitions.requeue))

    async def hand_over(self, job_id: int) -> Job:
        """Set a job in doubt; only after this has returned may the end of the message be sent.

        Until `record_replies`, `defer`, `fail`, `hold` or `abandon`, only this delivery can change the job.
        """
        return await self._step(job_id, transitions.hand_over)

    async def abandon(self, job_id: int) -> Job:
        """Stop awaiting the reply to a message that was sent; the job stays in doubt."""
        return await self._claims.release_after(job_id, self._step(job_id, transitions.abandon))

    async def schedule_resubmission(self, job_id: int, timestamp: float) -> Job:
        """Record when a job in doubt will be submitted again, for display."""

        def step(job: Job, _now: float) -> Job:
            return replace(job, next_attempt=timestamp) if job.state == "in_doubt" and not job.delivering else job

        return await self._step(job_id, step)

    async def record_replies(
        self,
        job_id: int,
        *,
        accepted: Collection[str] = (),
        refused: Mapping[str, RecipientRefusal] | None = None,
        reply: str = "",
        until: float | None = None,
        cause: str | None = None,
        sentence: str = "",
    ) -> Job:
        """Record the server's replies to the recipients of a transaction.

        If every recipient has a reply, the job is `sent`, or `failed` if all refused. If some are still waiting, it is
        `deferred`, or `queued` for a further transaction at once.

        Args:
            job_id: the job's id.
            accepted: the recipients that the server accepted.
            refused: the recipients that it refused permanently.
            reply: the reply to the whole message.
            until: when the waiting recipients are due; None for now.
            cause: the cause to store; None for that of the first refusal.
            sentence: the sentence to store; empty for one that names the refused recipients.
        """
        replies = transitions.RecipientReplies(accepted, refused or {}, reply, until, cause, sentence)
        return await self._claims.release_after(
            job_id, self._step(job_id, partial(transitions.apply_replies, replies=replies))
        )

    async def defer(self, job_id: int, until: float, cause: str, sentence: str, reply: str = "") -> Job:
        """Defer the waiting recipients."""
        failure = transitions.AttemptFailure(cause, sentence, reply)
        step = partial(transitions.defer, failure=failure, until=until)
        return await self._claims.release_after(job_id, self._step(job_id, step))

    async def fail(self, job_id: int, cause: str, sentence: str, reply: str = "") -> Job:
        """Fail a job; its message is kept for some time, so that a person can retry it."""
        step = partial(transitions.fail, failure=transitions.AttemptFailure(cause, sentence, reply))
        return await self._claims.release_after(job_id, self._step(job_id, step))

    async def hold(self, job_id: int, cause: str, sentence: str, reply: str = "") -> Job:
        """Hold a job until `release`, since its record needs attention first."""
        step = partial(transitions.hold, failure=transitions.AttemptFailure(cause, sentence, reply))
        return await self._claims.release_after(job_id, self._step(job_id, step))

    async def release(self, via: str) -> int:
        """Queue all held and deferred jobs of a record, since it works again; return how many.

        Those whose sending is delayed keep their time.
        """

        def work(transaction: SpoolTransaction) -> int:
            found = transaction.jobs.held_or_deferred(via)
            return transaction.store_all(
                transitions.release(job, transaction.now) for job in found if not job.is_delayed(transaction.now)
            )

        return await self._run(work)

    async def suspend(self, via: str, cause: str, sentence: str, *, until: float | None = None) -> int:
        """Hold all queued and deferred jobs of a record, or defer those that are due; return how many.

        Those whose sending is delayed keep their time.

        Args:
            via: the record, for which one attempt has failed in a way that concerns all its jobs.
            cause: the cause.
            sentence: the cause in one sentence.
            until: when the jobs that are due now are due again; None to hold all until `release`.
        """
        failure = transitions.AttemptFailure(cause, sentence)

        def work(transaction: SpoolTransaction) -> int:
            due = None if until is None else transaction.now
            found = transaction.jobs.awaiting_attempt(via, due)
            return transaction.store_all(
                transitions.suspend(job, transaction.now, failure, until)
                for job in found
                if not job.is_delayed(transaction.now)
            )

        return await self._run(work)

    # What a person asks for

    async def cancel(self, job_id: int) -> Job:
        """Cancel a job; not possible once it is being sent or may have been."""
        return await self._claims.run_unless_claimed(job_id, lambda: self._step(job_id, transitions.cancel))

    async def retry(self, job_id: int) -> Job:
        """Queue a job again that failed, is held, deferred or in doubt; its lifetime begins again.

        It is sent to the waiting recipients, or to those that refused if none is waiting, but never to those that
        accepted. This is not possible while a delivery awaits the reply.
        """

        def work(transaction: SpoolTransaction) -> Job:
            job = transaction.jobs.load(job_id)
            job = transitions.retry(job, transaction.now, transaction.jobs.lifetime(job_id))
            file, _ = transaction.jobs.file_of(job_id)
            if file is None or not transaction.repositories.has_file(file):
                raise InputError(
                    f"The message of job {job_id} is not kept any more, so it cannot be sent again.",
                    stage="spool",
                    cause="job_state",
                )
            return transaction.store(job)

        return await self._claims.run_unless_claimed(job_id, lambda: self._run(work))

    # Time

    async def prune(self, now: float | None = None) -> None:
        """Expire jobs that have waited too long, and delete old files and rows."""
        timestamp = self._clock() if now is None else now
        await anyio.to_thread.run_sync(retention.prune, self._storage, self._limits, timestamp)

    async def expire(self) -> None:
        """Expire jobs that have waited too long."""
        await anyio.to_thread.run_sync(retention.expire, self._storage, self._limits, self._clock())

    async def shift_times(self, seconds: float) -> None:
        """Shift the times of unfinished jobs after the clock was set forward by `seconds`, or back if negative."""
        await self._run(lambda transaction: transaction.jobs.shift_times(seconds, transaction.now))

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

    async def _reclaim(self, job_id: int) -> None:
        await self._step(job_id, transitions.reclaim)

    async def _step(self, job_id: int, step: Callable[[Job, float], Job]) -> Job:
        return await self._run(lambda transaction: transaction.step(job_id, step))

    async def _run(self, work: Callable[[SpoolTransaction], T]) -> T:
        return await anyio.to_thread.run_sync(run_transaction, self._storage, self._clock(), work)
