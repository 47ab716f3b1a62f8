"""The deliverer of a record: it delivers the record's jobs one after another, several in one session."""

from __future__ import annotations

import logging
import random
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.classify import diagnose
from mailslot.diagnosis.context import DiagnosisContext
from mailslot.errors import InputError, MailError, NetworkError
from mailslot.exit_guard import ExitGuard
from mailslot.net.endpoint import Security
from mailslot.service.circuit_breaker import RecordBreaker
from mailslot.service.delivery import Delivery, SessionUsage
from mailslot.service.diagnosis_context import context_of
from mailslot.service.disposition import DeliveryFailure, classify_failure
from mailslot.service.log import RepeatFilter, describe_error
from mailslot.slots.connector import open_smtp
from mailslot.spool.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.diagnosis.catalogue import Explanation
    from mailslot.service.device import Device
    from mailslot.service.pipeline import RetryPolicies
    from mailslot.service.sending_accounts import SendingAccount, SendingAccounts
    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot.spool.job import Job

IDLE_TIMEOUT: Final = 5.0
"""Seconds for which an idle session is kept open."""

_SHORT_WAIT: Final = 60.0
_PAUSE_AFTER_FAULT: Final = 10.0
_RETURN_TIMEOUT: Final = 3.0
"""Seconds to requeue the current job after a cancellation."""

_INTERNAL_ERROR: Final = "It could not be sent because of a fault of mailslot, or of a plugin; the log says more."

T = TypeVar("T")

logger = logging.getLogger(__name__)


def _ignore_progress(sent: int, size: int) -> None:
    """Do nothing."""


class RecordDeliverer:
    """Delivers the jobs of one record; the caller holds the delivery lock.

    Args:
        device: the device.
        via: the record.
        accounts: the sending accounts of the device.
        policies: the retry policies of the pipelines.
        final_timeout: seconds to wait for the reply to a message.
        random: returns a number from 0 to 1.

    Attributes:
        via: the record.
        breaker: the circuit breaker of the record, and its consequences for the jobs.
        due_at: when the next job is due, as far as is known; None if there is none.
        job: the job that is being delivered; None if there is none.
    """

    def __init__(
        self,
        device: Device,
        via: str,
        accounts: SendingAccounts,
        policies: RetryPolicies,
        *,
        final_timeout: float = 600.0,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.via = via
        self.breaker = RecordBreaker(device, via, self._check_again, random)
        self.due_at: float | None = 0.0
        self.job: Job | None = None
        self._device = device
        self._spool = device.spool
        self._accounts = accounts
        self._account: SendingAccount | None = None
        self._final_timeout = final_timeout
        self._repeat_filter = RepeatFilter(device.monotonic)
        self._profile: ConnectionProfile | None = None
        self._wakeup = anyio.Event()
        self._stopping = False
        self._told = 0
        self._delivery = Delivery(device.spool, device.now, random, self._explain, self._persist, policies)

    def wake(self) -> None:
        """Make it check whether a job is due."""
        self._wakeup.set()

    def tell_due(self, at: float | None) -> None:
        """Tell it when the next job is due, None if there is none, and make it check whether one is."""
        self.due_at = at
        self._told += 1
        self.wake()

    def stop(self) -> None:
        """Make `work` return after the current transaction."""
        self._stopping = True
        self.wake()

    async def work(self) -> None:
        """Deliver due jobs until `stop`."""
        while not self._stopping:
            try:
                with ExitGuard():
                    await self._step()
            except Exception as error:  # noqa: BLE001 - an error of one job must not stop the others
                known = isinstance(error, MailError)
                if self._repeat_filter.is_new(describe_error(error)):
                    logger.log(
                        logging.WARNING if known else logging.ERROR,
                        "Delivery has failed, and goes on in a moment: %s",
                        describe_error(error),
                        extra={"record": self.via},
                    )
                await self._device.sleep(_PAUSE_AFTER_FAULT)

    async def _step(self) -> None:
        job = await self._next_job()
        if job is None:
            await self._wait_for_wakeup()
        else:
            await self._run_session(job, self._next_job_for_session)

    async def drain(self) -> None:
        """Deliver the jobs that are due now, and return."""
        while not self._stopping and (job := await self._next_job()) is not None:
            await self._run_session(job, self._next_due_job)

    async def drain_and_log(self) -> None:
        """Deliver the jobs that are due now, and return; an error is logged, since other records are not concerned."""
        try:
            with ExitGuard():
                await self.drain()
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            logger.warning("Delivery has failed: %s", describe_error(error), extra={"record": self.via})

    async def deliver(self, job_id: int, progress: Callable[[int, int], None] = _ignore_progress) -> None:
        """Try to deliver one job, whether or not it is due.

        Args:
            job_id: the job.
            progress: called with the octets sent so far and the total.
        """
        while (job := await self._spool.claim(self.via, self._device.now(), job_id=job_id)) is not None:
            await self._run_session(job, None, progress)
            if (await self._spool.job(job_id)).state != "queued":
                return
            wait = self._account.quota.wait(self._device.now()) if self._account else 0.0
            if wait > _SHORT_WAIT:
                return
            await self._device.sleep(wait)

    # Choosing the next job.

    async def _next_job(self, *, durable: bool = True) -> Job | None:
        """Claim a job that can be tried now; None if there is none."""
        now = self._device.now()
        if self.breaker.circuit.failure is not None and await self.breaker.settings_changed():
            logger.info("The settings or the token are others now", extra={"record": self.via})
            await self.breaker.reset()
        if self.due_at is None or self.due_at > now:
            if not (self.breaker.circuit.may_try and self.breaker.circuit.needs_operator):
                return None
            # It is time to test whether an administrator has acted, or a token source has a new token.
            await self._spool.release(self.via)
        if self.breaker.circuit.needs_operator and not self.breaker.circuit.may_try:
            return await self._next_retried_job()
        if not self.breaker.circuit.may_try or await self._is_over_quota(now):
            return None
        told = self._told
        job = await self._spool.claim(self.via, now, durable=durable)
        # A job that was accepted after the search may have been told of while its result was on its way.
        if job is None and told == self._told:
            self.due_at = None
        return job

    async def _next_due_job(self) -> Job | None:
        """Claim a job that is due now; None if there is none."""
        # After the last one there is none, and looking needs no commit, as claiming does.
        told = self._told
        due_at = (await self._spool.first_due_times()).get(self.via)
        if told == self._told:
            self.due_at = due_at
        return await self._next_job_at_once()

    async def _next_job_at_once(self) -> Job | None:
        """Claim the next job for the open session; None if there is none now.

        The claim need not be on the disk: a job that makes the machine fail is the first one of the next session.
        """
        return await self._next_job(durable=False)

    async def _next_job_for_session(self) -> Job | None:
        """Claim the next job for the open session; None if there is none for a while."""
        end = self._device.monotonic() + IDLE_TIMEOUT
        while not self._stopping and self.breaker.circuit.failure is None:
            if (job := await self._next_job_at_once()) is not None:
                return job
            if self._device.monotonic() >= end:
                return None
            await self._wait_for_wakeup()
        return None

    async def _wait_for_wakeup(self) -> None:
        if not self._stopping:
            await self._wakeup.wait()
        self._wakeup = anyio.Event()

    async def _is_over_quota(self, now: float) -> bool:
        """Whether the account has used up its quota for now."""
        if self._account is None:
            return False
        wait = self._account.quota.wait(now)
        if wait > _SHORT_WAIT:
            sentence = "As many messages were sent as the provider allows; the rest waits until more are allowed."
            await self._spool.suspend(self.via, "sending_limit_reached", sentence, until=now + wait)
        return wait > 0

    async def _next_retried_job(self) -> Job | None:
        """Hold new jobs while a person must act first; return a job that a person wants to try nevertheless."""
        failure = self.breaker.circuit.failure
        assert failure is not None  # noqa: S101 - the breaker is tripped
        told = self._told
        while (job := await self._spool.claim(self.via, self._device.now())) is not None:
            if job.id <= self.breaker.newest_job_id:
                return job
            await self._persist(partial(self._spool.hold, job.id, failure.cause, failure.sentence))
            told = self._told
        if told == self._told:
            self.due_at = None
        return None

    # The session.

    async def _run_session(
        self,
        job: Job,
        next_job: Callable[[], Awaitable[Job | None]] | None,
        progress: Callable[[int, int], None] = _ignore_progress,
    ) -> None:
        """Open a session; deliver a job and those that follow in it, if any are to follow."""
        self.job = job
        try:
            # From now on, a wake-up means a job that is not known yet.
            await self.breaker.settings_changed()
            self._profile = None
            async with AsyncExitStack() as stack:
                stack.enter_context(ExitGuard())
                try:
                    self._profile = profile = await self._device.connector.profile(self.via)
                    self._account = await self._accounts.account(profile)
                    await stack.enter_async_context(self._account.connections)
                    opened = open_smtp(profile, final_timeout=self._final_timeout)
                    session = await stack.enter_async_context(opened)
                except MailError as error:
                    await self._handle_open_failure(job, error)
                    return
                usage = SessionUsage(session)
                limits = self._device.server_limits
                await limits.remember(self.via, profile.settings.server, session.capabilities.size)
                may_claim_next = partial(self._may_claim_next, usage, goes_on=next_job is not None)
                current: Job | None = job
                while current is not None and not usage.is_exhausted:
                    goes_on, following = await self._deliver(current, usage, self._account, progress, may_claim_next)
                    if not goes_on or next_job is None or usage.is_exhausted or self._stopping:
                        return
                    self.job = current = following or await next_job()
                    if current is not None and await self.breaker.settings_changed():
                        await self._persist(partial(self._spool.requeue, current.id))
                        return
        except Exception as error:
            if self.job is not None and not isinstance(error, MailError) and not await self._may_have_left(self.job):
                # A bug that one job triggers must not delay the others.
                await self._delivery.apply(self.job, DeliveryFailure("defer", "unknown", _INTERNAL_ERROR))
            raise
        finally:
            await self._return_job()

    def _may_claim_next(self, usage: SessionUsage, *, goes_on: bool) -> bool:
        """Whether the next job may be claimed in the transaction that records the replies to this one."""
        may_send = self._account is None or self._account.quota.wait(self._device.now()) == 0
        return goes_on and may_send and not (self._stopping or self.breaker.circuit.failure or usage.is_exhausted)

    async def _deliver(
        self,
        job: Job,
        usage: SessionUsage,
        account: SendingAccount,
        progress: Callable[[int, int], None],
        may_claim_next: Callable[[], bool],
    ) -> tuple[bool, Job | None]:
        """Deliver a job.

        Returns:
            whether the session can be used for others, and the next one if it was claimed already.
        """
        told = self._told
        outcome = await self._delivery.run(job, usage, account.quota, progress, may_claim_next)
        if outcome.has_claimed:
            self.job = outcome.following
            if self.job is None and told == self._told:
                self.due_at = None
        if outcome.failure is not None and outcome.failure.disposition == "in_doubt":
            await self.breaker.trip(await self._connection_lost())
        elif outcome.failure is not None and outcome.failure.disposition in {"hold", "back_off"}:
            await self.breaker.trip(outcome.failure)
        elif outcome.kind in {"answered", "failed"}:
            # Even a refusal of this message shows that the record works.
            await self.breaker.reset()
        goes_on = outcome.kind in {"answered", "failed"} and self.breaker.circuit.failure is None
        if goes_on and not outcome.has_claimed:
            self.job = None
        return goes_on, outcome.following

    async def _connection_lost(self) -> DeliveryFailure:
        """Return the failure for the record's other jobs after one job became in doubt."""
        error = NetworkError("The connection was lost.", stage="data", cause="connection_lost", retryable=True)
        return classify_failure(error, await self._explain(error))

    async def _handle_open_failure(self, job: Job, error: MailError) -> None:
        failure = classify_failure(error, await self._explain(error))
        logger.warning(
            "%s",
            failure.sentence,
            extra={"job": job.id, "record": self.via, "cause": failure.cause, "detail": error.detail},
        )
        if failure.disposition not in {"hold", "back_off"}:
            failure = DeliveryFailure("back_off", failure.cause, failure.sentence, failure.reply)
        await self._delivery.apply(job, failure)
        await self.breaker.trip(failure)

    def _check_again(self) -> None:
        """Look for jobs whatever is known of their times."""
        self.due_at = 0.0

    async def _may_have_left(self, job: Job) -> bool:
        """Whether the end of a job's message may have been sent; then the job is in doubt, and is not simply resent."""
        return (await self._spool.job(job.id)).state == "in_doubt"

    async def _return_job(self) -> None:
        """Requeue the current job if its message was not sent; if it may have been sent, leave it in doubt."""
        job, self.job = self.job, None
        if job is None:
            return
        with anyio.move_on_after(_RETURN_TIMEOUT, shield=True):
            try:
                job = await self._spool.job(job.id)
                if job.state == "sending":
                    await self._spool.requeue(job.id)
                elif job.delivering:
                    await self._spool.abandon(job.id)
            except (SpoolError, InputError) as error:
                # The next recovery puts it in order.
                logger.warning("A job could not be given back: %s", error, extra={"job": job.id})

    async def _persist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Save a result, repeating until the disk accepts it; the former state on the disk stays valid until then."""
        while True:
            try:
                return await write()
            except SpoolError as error:
                if self._repeat_filter.is_new(str(error)):
                    logger.error(  # noqa: TRY400 - a full disk is not a bug and needs no traceback
                        "What became of a job cannot be written yet: %s", error, extra={"record": self.via}
                    )
            await self._device.sleep(_PAUSE_AFTER_FAULT)

    async def _explain(self, error: MailError) -> Explanation:
        """Return the explanation of an error."""
        return explain(diagnose(error, await self._diagnosis_context()))

    async def _diagnosis_context(self) -> DiagnosisContext:
        if self._profile is None:
            return DiagnosisContext("SMTP", "", 0, Security.NONE, "none")
        return await context_of(self._device, self._profile)
