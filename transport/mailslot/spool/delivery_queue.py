"""The jobs of a spool, as they are delivered: each change of a job's state is a transaction of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio.to_thread

from mailslot.errors import InputError
from mailslot.spool import transitions
from mailslot.spool.delivery_claims import DeliveryClaims
from mailslot.spool.transaction import SpoolTransaction, run_transaction

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Mapping

    from mailslot.spool.job import Job, RecipientRefusal
    from mailslot.spool.recovery import Recovery
    from mailslot.spool.storage import Storage

T = TypeVar("T")


class DeliveryQueue:
    """What deliverers, and people, do with accepted jobs; the base of `mailslot.spool.spool.Spool`.

    Every method may raise what those of `Spool` raise. Where a failure is stored with a job, `cause` is an id of the
    catalogue of causes, `sentence` says it in one sentence, and `reply` is the server's reply, empty if there was none.
    Times are in seconds since 1970. A method that changes a job returns it as it is then.

    Args:
        storage: the spool's storage.
        clock: returns the time in seconds since 1970.
    """

    def __init__(self, storage: Storage, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._clock = clock
        self._claims = DeliveryClaims(storage, self.job, self._reclaim)

    async def job(self, job_id: int) -> Job:
        """Return the job with an id as it is now."""
        return await self._storage.read(lambda repositories: repositories.jobs.load(job_id))

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
        """Recover what a crashed process has left, and return what was done. Needs the delivery lock."""
        self._claims.require_lock()
        return await anyio.to_thread.run_sync(self._storage.recover, self._clock)

    async def claim(
        self, via: str, now: float | None = None, *, job_id: int | None = None, durable: bool = True
    ) -> Job | None:
        """Return the oldest due job of a record, in state `sending`; None if there is none. Needs the delivery lock.

        Args:
            via: the record.
            now: the time; None for the clock's.
            job_id: claim only this job, whether due or not, if it is queued or deferred; None for any that is due.
            durable: False not to wait for the disk: where the power fails before `hand_over`, the job is as it was, and
                this attempt does not count. A session's first job needs True, so that one does not make the machine
                fail again and again.
        """
        self._claims.require_lock()
        job = await self._run(partial(self._claim_due, via, now, job_id), durable=durable)
        if job is not None:
            self._claims.claim(job.id)
        return job

    def _claim_due(self, via: str, now: float | None, job_id: int | None, transaction: SpoolTransaction) -> Job | None:
        job = transaction.jobs.next_due(via, transaction.now if now is None else now, job_id)
        return None if job is None else transaction.store(transitions.claim(job, transaction.now))

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
        """Record when a job in doubt will be submitted again; whoever submits it compares the time."""

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
        job, _ = await self.settle(job_id, replies)
        return job

    async def settle(
        self, job_id: int, replies: transitions.RecipientReplies, *, claims_next_of: str | None = None
    ) -> tuple[Job, Job | None]:
        """Record the server's replies; in the same transaction, claim the next job, as `claim` does.

        Args:
            job_id: the job's id.
            replies: the replies; see `record_replies`.
            claims_next_of: the record whose next due job is claimed, unless this one is `queued` again; None for none.

        Returns:
            the job, and the one that was claimed; None if there is none.
        """

        def work(transaction: SpoolTransaction) -> tuple[Job, Job | None]:
            job = transaction.step(job_id, partial(transitions.apply_replies, replies=replies))
            if claims_next_of is None or job.state == "queued":
                return job, None
            return job, self._claim_due(claims_next_of, transaction.now, None, transaction)

        job, following = await self._claims.release_after(job_id, self._run(work))
        if following is not None:
            self._claims.claim(following.id)
        return job, following

    async def defer(self, job_id: int, until: float, cause: str, sentence: str, reply: str = "") -> Job:
        """Defer a job until a time: it is then sent again to the recipients that are still waiting."""
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

    async def _reclaim(self, job_id: int) -> None:
        await self._step(job_id, transitions.reclaim)

    async def _step(self, job_id: int, step: Callable[[Job, float], Job]) -> Job:
        return await self._run(lambda transaction: transaction.step(job_id, step))

    async def _run(self, work: Callable[[SpoolTransaction], T], *, durable: bool = True) -> T:
        run = partial(run_transaction, self._storage, self._clock(), work, durable=durable)
        return await anyio.to_thread.run_sync(run)
