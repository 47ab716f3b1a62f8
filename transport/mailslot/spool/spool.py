"""The durable queue: a job accepted is on the disk, and stays there until it has ended.

Several processes may have it open; one at a time delivers, under `Spool.delivery_lock`. Everything that leaves is
frozen when it is accepted: it goes out the same, octet by octet, at each attempt.
"""

from __future__ import annotations

import time
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from mailslot.errors import InputError
from mailslot.spool import recovery, retention, rows, transitions
from mailslot.spool.acceptance import Acceptance
from mailslot.spool.adoption import DAMAGED, adopt_all, losses
from mailslot.spool.database import Database
from mailslot.spool.deliveries import Deliveries
from mailslot.spool.ledger import Ledger
from mailslot.spool.limits import Limits
from mailslot.spool.spooled import SpooledMessage
from mailslot.spool.store import Store
from mailslot.spool.transaction import Transaction, run_transaction
from mailslot.spool.watch import changes

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncGenerator, Callable, Collection, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from mailslot.smtp.content import Content
    from mailslot.spool.adoption import Loss
    from mailslot.spool.errors import SpoolError
    from mailslot.spool.job import Job, NewJob, Refusal, State
    from mailslot.spool.recovery import Recovery

T = TypeVar("T")


class Spool:
    """The queue in a home folder, and beside it the ledger of fetched mail and the memory of the pipelines.

    ``async with Spool(home) as spool``. Every method may raise:

    - `InputError`: there is no such job (`unknown_job`), or what is asked for does not go in its state (`job_state`).
    - `SpoolError`: `spool_full`, `spool_unwritable`, `spool_unreadable` or `spool_busy`; what was accepted is unharmed.

    Args:
        home: the home folder; everything is in its folder ``spool``.
        limits: how much it holds.
        clock: the time in seconds since 1970.

    Attributes:
        ledger: the mail that was fetched.
        found: how many jobs and mails were found again by their files alone, because the list of them was missing or
            damaged when the spool was opened; to be told to the administrator where it is not 0.
    """

    def __init__(self, home: Path, *, limits: Limits | None = None, clock: Callable[[], float] = time.time) -> None:
        self._folder = home.absolute() / "spool"
        self._limits = limits or Limits()
        self._clock = clock
        self._database = Database(self._folder, partial(adopt_all, self._folder, clock))
        self._acceptance = Acceptance(self._database, self._folder, self._limits, clock)
        self._deliveries = Deliveries(self._folder / "delivery.lock", self.job, self._reclaim)
        self.ledger = Ledger(self._database, self._folder, self._limits, clock)

    async def __aenter__(self) -> Self:
        try:
            await anyio.to_thread.run_sync(self._database.open)
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
            await anyio.to_thread.run_sync(self._database.close)

    @property
    def found(self) -> int:
        """How many jobs and mails were found again by their files alone when the spool was opened."""
        return self._database.adopted.found

    @property
    def lost(self) -> SpoolError | None:
        """Why nothing can be kept any more until the spool is opened anew; None as long as it can.

        The list of jobs was removed, replaced or damaged while it was open.
        """
        return self._database.lost

    async def check(self) -> None:
        """See that the list of jobs is still there and sound; where it is not, `lost` says so, too."""
        await anyio.to_thread.run_sync(self._database.check)

    async def losses(self) -> list[Loss]:
        """Return when the list of jobs was lost and made anew from the messages, oldest first."""
        return await self._database.read(losses)

    def store(self, name: str) -> Store:
        """Return the memory of a pipeline."""
        return Store(self._database, name)

    # Accepting and reading

    async def accept(self, new: NewJob, message: Content) -> Job:
        """Take a message over; once this returns, it is on the disk whatever happens.

        Args:
            new: what is to become of it.
            message: the message; it is read once, as a stream, and kept with CRLF line ends.

        Returns:
            the job, `queued`; or the one that was accepted with the same key before, whatever its state. Of one that
            is not remembered any more, only number and state are true, and it has no recipients.

        Raises:
            InputError: the message cannot be read, has another size than it says, or the job cannot be one.
            SpoolError: `spool_full`, with the numbers; nothing was accepted.
        """
        return await self._acceptance.accept(new, message)

    async def job(self, job_id: int) -> Job:
        """Return a job as it is now."""
        return await self._database.read(lambda connection: rows.load(connection, job_id))

    async def jobs(
        self,
        *,
        states: Collection[State] | None = None,
        pipeline: str | None = None,
        most: int = 100,
        before: int | None = None,
    ) -> list[Job]:
        """Return the newest jobs, newest first.

        Args:
            states: only those in one of these states.
            pipeline: only those of this one.
            most: how many.
            before: only those with a smaller number: the last of the page before.
        """
        return await self._database.read(lambda c: rows.newest(c, states, pipeline, most, before))

    async def annotate(self, job_id: int, notes: Mapping[str, str]) -> Job:
        """Add to a job's notes, or change some, in whatever state it is; the others stay."""

        def work(connection: sqlite3.Connection) -> Job:
            job = rows.load(connection, job_id)
            return rows.annotate(connection, job, {**job.notes, **notes})

        return await self._database.write(work)

    async def counts(self) -> Mapping[State, int]:
        """Return how many jobs are in each state."""
        return await self._database.read(rows.counts)

    async def tally(self) -> list[tuple[str, State, int, float]]:
        """Return, for each pipeline and state with jobs, how many there are, and when the oldest was accepted."""
        return await self._database.read(rows.tally)

    async def held(self) -> Mapping[str, tuple[int, int]]:
        """Return, for each record with jobs that are held, how many there are, and the newest one's number."""
        return await self._database.read(rows.held)

    def content(self, job: Job) -> SpooledMessage:
        """Return a job's message, as `mailslot.smtp.session.SmtpSession.submit` takes it."""
        return SpooledMessage(self._database, self._folder, job)

    # Delivering

    @asynccontextmanager
    async def delivery_lock(self, *, timeout: float = 0.0) -> AsyncGenerator[None]:
        """Be the one who delivers while the block runs.

        Args:
            timeout: how long to wait for another one, in seconds; 0 tries once, ``math.inf`` waits.

        Raises:
            SpoolError: `spool_busy`, another delivers.
        """
        async with self._deliveries.lock(timeout):
            yield

    async def recover(self) -> Recovery:
        """Put in order what a process that died has left; only under the delivery lock."""
        self._deliveries.check()
        return await anyio.to_thread.run_sync(recovery.recover, self._database, self._folder, self._clock)

    async def claim(self, via: str, now: float | None = None, *, job_id: int | None = None) -> Job | None:
        """Return the oldest job of a record that is due, now `sending`; None where none is. Needs the delivery lock.

        Args:
            via: the record.
            now: the time; None for the clock's.
            job_id: the only one that will do, due or not, as long as it waits; None for any that is due.
        """

        def work(transaction: Transaction) -> Job | None:
            job = rows.next_due(transaction.connection, via, transaction.now if now is None else now, job_id)
            return None if job is None else transaction.store(transitions.claim(job, transaction.now))

        self._deliveries.check()
        job = await self._run(work)
        if job is not None:
            self._deliveries.take(job.id)
        return job

    async def due(self) -> Mapping[str, float]:
        """Return, for each record with jobs that wait for an attempt, when the first is due; 0.0 for now."""
        return await self._database.read(rows.due)

    async def requeue(self, job_id: int) -> Job:
        """Give a job back before anything of it left; the attempt does not count."""
        return await self._deliveries.let_go(job_id, self._step(job_id, transitions.requeue))

    async def hand_over(self, job_id: int) -> Job:
        """Note that the end of the message is about to leave; that octet may leave once this has returned.

        Until the answer is noted, or `abandon`, nobody but this delivery can move the job.
        """
        return await self._step(job_id, transitions.hand_over)

    async def abandon(self, job_id: int) -> Job:
        """Note that nobody waits any more for the answer to a message that was handed over; it stays in doubt."""
        return await self._deliveries.let_go(job_id, self._step(job_id, transitions.abandon))

    async def submit_again_at(self, job_id: int, moment: float) -> Job:
        """Note when a job in doubt will be submitted once more, so that people see it."""

        def step(job: Job, _now: float) -> Job:
            return replace(job, next_attempt=moment) if job.state == "in_doubt" and not job.delivering else job

        return await self._step(job_id, step)

    async def settle(
        self,
        job_id: int,
        *,
        accepted: Collection[str] = (),
        refused: Mapping[str, Refusal] | None = None,
        reply: str = "",
        until: float | None = None,
        cause: str | None = None,
        sentence: str = "",
    ) -> Job:
        """Note what the server answered about the recipients of a transaction.

        With an answer for each recipient the job is `sent`, or `failed` where all refused; with some still waiting it
        is `deferred`, or `queued` for a further transaction at once.

        Args:
            job_id: the job.
            accepted: the recipients that the server answers for from now on.
            refused: those that it refused for good.
            reply: its answer to the whole message.
            until: when the recipients without an answer are due; None for at once.
            cause: why they wait, or what else to note; None for the first refusal's.
            sentence: the same in words; empty for one that names who refused.
        """
        answers = transitions.RecipientReplies(accepted, refused or {}, reply, until, cause, sentence)
        return await self._deliveries.let_go(job_id, self._step(job_id, partial(transitions.settle, answers=answers)))

    async def defer(self, job_id: int, until: float, cause: str, sentence: str, reply: str = "") -> Job:
        """Try the recipients that wait later."""
        failure = transitions.Failure(cause, sentence, reply)
        step = partial(transitions.defer, failure=failure, until=until)
        return await self._deliveries.let_go(job_id, self._step(job_id, step))

    async def fail(self, job_id: int, cause: str, sentence: str, reply: str = "") -> Job:
        """Give up; the message is kept for a while, so that a person can have it sent again."""
        step = partial(transitions.fail, failure=transitions.Failure(cause, sentence, reply))
        return await self._deliveries.let_go(job_id, self._step(job_id, step))

    async def hold(self, job_id: int, cause: str, sentence: str, reply: str = "") -> Job:
        """Keep a job until `release`: its record must be seen to first."""
        step = partial(transitions.hold, failure=transitions.Failure(cause, sentence, reply))
        return await self._deliveries.let_go(job_id, self._step(job_id, step))

    async def release(self, via: str) -> int:
        """Make all held and deferred jobs of a record due, now that it works again; return how many."""

        def work(transaction: Transaction) -> int:
            found = rows.held_or_deferred(transaction.connection, via)
            for job in found:
                transaction.store(transitions.release(job, transaction.now))
            return len(found)

        return await self._run(work)

    async def suspend(self, via: str, cause: str, sentence: str, *, until: float | None = None) -> int:
        """Hold all jobs of a record that wait for an attempt, or defer those that are due; return how many.

        Args:
            via: the record; one attempt has failed, on behalf of all.
            cause: why.
            sentence: the same in words.
            until: when those that are due now are due again; None to hold all until `release`.
        """
        failure = transitions.Failure(cause, sentence)

        def work(transaction: Transaction) -> int:
            due = None if until is None else transaction.now
            found = rows.awaiting_attempt(transaction.connection, via, due)
            for job in found:
                transaction.store(transitions.suspend(job, transaction.now, failure, until))
            return len(found)

        return await self._run(work)

    # What a person asks for

    async def cancel(self, job_id: int) -> Job:
        """Have a job not sent; one that is being sent, or may have been, cannot be called back."""
        return await self._deliveries.unless_held(job_id, lambda: self._step(job_id, transitions.cancel))

    async def retry(self, job_id: int) -> Job:
        """Have a job sent again, whose time begins anew: one that failed, is held, deferred or in doubt.

        Who accepted it is left out. Where no recipient waits any more, those who refused are asked again. As long as
        a delivery waits for the server's answer, it is not sent again.
        """

        def work(transaction: Transaction) -> Job:
            job = rows.load(transaction.connection, job_id)
            job = transitions.retry(job, transaction.now, rows.lifetime(transaction.connection, job_id))
            file, _ = rows.file_of(transaction.connection, job_id)
            if file is None or file.endswith(DAMAGED) or not (transaction.folder / file).exists():
                raise InputError(
                    f"The message of job {job_id} is not kept any more, so it cannot be sent again.",
                    stage="spool",
                    cause="job_state",
                )
            return transaction.store(job)

        return await self._deliveries.unless_held(job_id, lambda: self._run(work))

    # Time

    async def prune(self, now: float | None = None) -> None:
        """Give up what has waited too long, and forget what ended long ago."""
        moment = self._clock() if now is None else now
        await anyio.to_thread.run_sync(retention.prune, self._database, self._folder, self._limits, moment)

    async def clock_set(self, seconds: float) -> None:
        """Let jobs that wait keep their time though the clock was set forward by `seconds`, or back by less than 0."""
        await self._run(lambda transaction: rows.shift_times(transaction.connection, seconds, transaction.now))

    async def changes(self) -> AsyncGenerator[None]:
        """Give at once, and then whenever anything changed, in this process or another.

        Best by `contextlib.aclosing`. Several changes may come as one.
        """
        async with aclosing(changes(self._database)) as each:
            async for _ in each:
                yield

    async def watch(self, job_id: int) -> AsyncGenerator[Job]:
        """Give a job at once, and then each time that it is another, whoever changed it. Best by `contextlib.aclosing`.

        States that follow each other quickly may be left out, but never the last.
        """
        seen: Job | None = None
        async with aclosing(changes(self._database)) as each:
            async for _ in each:
                job = await self.job(job_id)
                if job != seen:
                    seen = job
                    yield job

    async def _reclaim(self, job_id: int) -> None:
        await self._step(job_id, transitions.reclaim)

    async def _step(self, job_id: int, step: Callable[[Job, float], Job]) -> Job:
        return await self._run(lambda transaction: transaction.step(job_id, step))

    async def _run(self, work: Callable[[Transaction], T]) -> T:
        return await anyio.to_thread.run_sync(run_transaction, self._database, self._folder, self._clock(), work)
