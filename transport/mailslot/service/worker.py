"""The worker, which delivers the jobs in the spool: one deliverer for each record, in one process at a time."""

from __future__ import annotations

import logging
import math
import random
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from mailslot.errors import InputError, MailError
from mailslot.exit_guard import ExitGuard
from mailslot.service.log import RepeatFilter
from mailslot.service.pipeline import RetryPolicies
from mailslot.service.record_deliverer import RecordDeliverer
from mailslot.service.sending_accounts import SendingAccounts
from mailslot.service.wall_clock import WallClock
from mailslot.slots.slot import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from anyio.abc import TaskGroup

    from mailslot.service.device import Device
    from mailslot.spool.job import Job

GRACE: Final = 8.0
"""Seconds that a transaction may still take when the worker is stopped, by the machine's clock."""

STORE: Final = "delivery"
"""The store for the counts of sent messages, and for the time when the device was last up."""

_BREAKER: Final = "breaker "
"""In that store, before the name of a record: what has stopped attempts, for the next process."""

_TICK: Final = 1.0
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_CLOCK_TRUSTED_AFTER: Final = 3600.0
"""Seconds after the start after which the time during which the device was off counts for expiry."""
_COALESCE: Final = 0.05
"""Seconds between two checks of what is due, so that a burst of changes causes one check."""

logger = logging.getLogger(__name__)


class Worker:
    """Delivers the jobs of a device.

    Args:
        device: the device.
        final_timeout: seconds to wait for the reply to a message.
        grace: seconds that a transaction may still take after `stop`.
        random: returns a number from 0 to 1, for the jitter of delays.
    """

    def __init__(
        self,
        device: Device,
        *,
        final_timeout: float = 600.0,
        grace: float = GRACE,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._device = device
        self._spool = device.spool
        self._grace = grace
        self._store = device.store(STORE)
        self._accounts = SendingAccounts(self._store, device.now)
        self._policies = RetryPolicies()
        self._make_deliverer = make = partial(
            RecordDeliverer,
            device,
            accounts=self._accounts,
            policies=self._policies,
            final_timeout=final_timeout,
            random=random,
        )
        self._deliverers = {record: make(record) for record, protocol in PROTOCOLS.items() if protocol == "SMTP"}
        self._clock: WallClock | None = None
        self._clock_step = 0.0
        self._clock_lock = anyio.Lock()
        self._stopping = anyio.Event()
        self._check_due = anyio.Event()

    async def run(self) -> None:
        """Deliver until `stop` or cancellation, after waiting until no other process delivers.

        Raises:
            SpoolError: the spool cannot be put in order at the start.
        """
        async with self._spool.delivery_lock(timeout=math.inf):
            await self._begin()
            for record in tuple(self._deliverers):
                # The reason for holding jobs may be gone, so try the first one.
                await self._spool.release(record)
            try:
                async with anyio.create_task_group() as group:
                    for task in (self._listen, self._tick, self._schedule, self._housekeep):
                        group.start_soon(self._restart_on_error, task)
                    await self._work_until_stopped()
                    group.cancel_scope.cancel()
            finally:
                await self._end()

    async def stop(self) -> None:
        """Make `run` return within ten seconds; a running transaction is finished if possible."""
        self._stopping.set()

    async def deliver_due(self) -> None:
        """Deliver the jobs that are due now, and return.

        Raises:
            SpoolError: `spool_busy`, another process delivers; or the spool cannot be used.
        """
        async with self._spool.delivery_lock():
            await self._begin()
            try:
                for deliverer in tuple(self._deliverers.values()):
                    deliverer.due_at = 0.0
                    await deliverer.drain()
            finally:
                await self._end()

    @property
    def records(self) -> frozenset[str]:
        """The records that send."""
        return frozenset(self._deliverers)

    async def work_once(self) -> float | None:
        """Deliver the jobs that are due now, look after the others as a service does all the time, and return.

        What stops attempts for a record is kept for the next process.

        Returns:
            seconds until held jobs are to be tried again; None if a person must act first.

        Raises:
            SpoolError: `spool_busy`, another process delivers; or the spool cannot be used.
        """
        async with self._spool.delivery_lock():
            known = await self._store.items()
            seen = known.get("seen")
            tidies_up = seen is None or not 0 <= self._device.now() - seen < _HOUR
            await self._begin()
            try:
                for record, deliverer in self._deliverers.items():
                    if (state := known.get(f"{_BREAKER}{record}")) is not None:
                        await deliverer.breaker.resume(state)
                await self._spool.expire()
                if tidies_up:
                    await self._spool.prune()
                await self._resubmit_doubtful_jobs()
                due = await self._spool.first_due_times()
                async with anyio.create_task_group() as group:
                    for record, deliverer in self._deliverers.items():
                        deliverer.due_at = due.get(record)
                        group.start_soon(deliverer.drain_and_log)
                if any(deliverer.breaker.circuit.failure is not None for deliverer in self._deliverers.values()):
                    # For a job that has just become in doubt, it is noted when it is to be sent again.
                    await self._resubmit_doubtful_jobs()
                await self._keep_breakers(known)
            finally:
                await self._end(stores_time=tidies_up)
            breakers = [deliverer.breaker.circuit for deliverer in self._deliverers.values()]
            probes = [breaker.remaining() for breaker in breakers if breaker.needs_operator]
            return min((each for each in probes if each is not None), default=None)

    async def _keep_breakers(self, known: Mapping[str, object]) -> None:
        values: dict[str, Any] = {}
        for record, deliverer in self._deliverers.items():
            if (state := await deliverer.breaker.state()) is not None:
                values[f"{_BREAKER}{record}"] = state
            breaker = deliverer.breaker.circuit
            if (failure := breaker.failure) is not None and not breaker.needs_operator:
                # Jobs that were accepted meanwhile wait as well.
                until = self._device.now() + (breaker.remaining() or 0.0)
                await self._spool.suspend(record, failure.cause, failure.sentence, until=until)
        over = [key for key in known if key.startswith(_BREAKER) and key not in values]
        if over or any(known.get(key) != value for key, value in values.items()):
            await self._store.update(values, over)

    async def deliver(self, job_id: int, progress: Callable[[int, int], None] | None = None) -> Job:
        """Try to deliver one job now, whether or not it is due.

        Args:
            job_id: the job.
            progress: called repeatedly with the octets sent so far and the total.

        Returns:
            the job afterwards.

        Raises:
            InputError: there is no such job.
            SpoolError: `spool_busy`, another process delivers, and will also deliver this job; or the spool cannot be
                used.
        """
        async with self._spool.delivery_lock():
            await self._begin()
            try:
                job = await self._spool.job(job_id)
                deliverer = self._deliverers.get(job.via)
                if deliverer is not None:
                    await deliverer.deliver(job_id, *() if progress is None else (progress,))
            finally:
                await self._end()
            return await self._spool.job(job_id)

    # Beginning and end.

    async def _begin(self) -> None:
        found = await self._spool.recover()
        for job_id in found.requeued:
            logger.info("Delivery was broken off before anything left, and begins again", extra={"job": job_id})
        if found.copied:
            logger.warning(
                "This home folder is a copy: %d jobs that waited in it have failed, since the original may send them",
                len(found.copied),
            )
        for job_id in found.failed:
            logger.error("The message of a job is gone from the spool", extra={"job": job_id})
        if found.found:
            logger.error(
                "The list of jobs was replaced by an older one; %d jobs and mails that it lacks were found again by "
                "their files",
                found.found,
            )
        logged, seen = await self._store.get_all("losses told", "seen")
        await self._log_losses(logged or 0)
        if self._clock is None:
            self._clock = WallClock(self._device.clocks, seen)
        await self._check_clock()
        self._find_accounts()

    async def _log_losses(self, logged: int) -> None:
        """Log each loss of the list of jobs once, whichever process has recreated it."""
        losses = await self._spool.losses()
        for loss in losses[logged:]:
            logger.error(
                "The list of jobs was lost and rebuilt from the messages: %d jobs and mails were found again; %d "
                "jobs are damaged and have failed",
                loss.found,
                loss.damaged,
            )
        if len(losses) > logged:
            await self._store.put("losses told", len(losses))

    async def _end(self, *, stores_time: bool = True) -> None:
        with anyio.move_on_after(1, shield=True), suppress(MailError):
            await self._accounts.save()
            if stores_time:
                await self._store.put("seen", self._device.now())

    async def _work_until_stopped(self) -> None:
        """Run the deliverers; after `stop`, give each time to finish its transaction."""
        async with anyio.create_task_group() as group:
            for deliverer in self._deliverers.values():
                group.start_soon(deliverer.work)
            async with anyio.create_task_group() as following:
                following.start_soon(self._restart_on_error, partial(self._follow_accounts, group))
                await self._stopping.wait()
                following.cancel_scope.cancel()
            for deliverer in self._deliverers.values():
                deliverer.stop()
            # Ends at once if no deliverer has a job to finish.
            group.cancel_scope.deadline = anyio.current_time() + self._grace

    def _find_accounts(self) -> list[RecordDeliverer]:
        """Make deliverers for new sending accounts, and stop those of removed accounts.

        Returns:
            the new deliverers.
        """
        sending = {record for record, protocol in self._device.slots.protocols.items() if protocol == "SMTP"}
        for record in self._deliverers.keys() - sending:
            self._deliverers.pop(record).stop()
        new = {record: self._make_deliverer(record) for record in sending - self._deliverers.keys()}
        self._deliverers |= new
        return list(new.values())

    async def _follow_accounts(self, group: TaskGroup) -> None:
        while True:
            seen = self._device.changes
            new = self._find_accounts()
            for deliverer in new:
                group.start_soon(deliverer.work)
            for deliverer in new:
                # Jobs that were held for an account of this name may be sent now.
                await self._spool.release(deliverer.via)
                self._check_due.set()
            await self._device.pause(math.inf, seen=seen)

    # Tasks that run beside the deliverers.

    async def _restart_on_error(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task, restarting it if it fails."""
        repeat_filter = RepeatFilter(self._device.monotonic)
        while True:
            try:
                with ExitGuard():
                    await task()
            except MailError as error:
                if repeat_filter.is_new(str(error)):
                    logger.warning(
                        "The spool cannot be used, and is tried again: %s", error, extra={"cause": error.cause}
                    )
            except Exception:
                # An error here must not end the deliverers.
                logger.exception("A part of delivery has failed, and begins again")
            await self._device.sleep(_TICK)

    async def _listen(self) -> None:
        async with aclosing(self._spool.changes()) as changes:
            async for _ in changes:
                self._check_due.set()
                # Each look at the database costs a thread, and a delivery commits all the time.
                await anyio.sleep(_COALESCE)

    async def _tick(self) -> None:
        """Make the deliverers check once a second for jobs that are due; the database is read only after changes."""
        while True:
            await self._device.sleep(_TICK)
            await self._check_clock()
            for deliverer in self._deliverers.values():
                deliverer.wake()

    async def _schedule(self) -> None:
        """Tell each deliverer when its next job is due."""
        while True:
            await self._check_due.wait()
            self._check_due = anyio.Event()
            due = await self._spool.first_due_times()
            for via, deliverer in tuple(self._deliverers.items()):
                deliverer.tell_due(due.get(via))
            await anyio.sleep(_COALESCE)

    async def _housekeep(self) -> None:
        """Once a minute, expire old jobs, resubmit jobs in doubt, and save the current time."""
        while True:
            await self._check_clock()
            assert self._clock is not None  # noqa: S101 - since `_begin`
            await self._spool.prune(self._clock.expiry_time(_CLOCK_TRUSTED_AFTER))
            await self._resubmit_doubtful_jobs()
            await self._store.put("seen", self._device.now())
            self._check_due.set()
            await self._device.sleep(_MINUTE)

    async def _check_clock(self) -> None:
        assert self._clock is not None  # noqa: S101 - since `_begin`
        # The times of all jobs must be shifted before any job expires.
        async with self._clock_lock:
            step = self._clock.step()
            if step:
                logger.warning("The clock was set by %d seconds; jobs keep their time", step, extra={"seconds": step})
                self._accounts.shift_clock(step)
                self._clock_step += step
            if self._clock_step:
                await self._spool.shift_times(self._clock_step, up=self._clock.up)
                self._clock_step = 0.0

    async def _resubmit_doubtful_jobs(self) -> None:
        """Resubmit jobs that have been in doubt for a while, if their pipeline's policy says so.

        RFC 5321 section 3.8 treats a lost connection as a temporary failure, preferring a duplicate to a loss. A job
        that becomes in doubt a second time is left to a person.
        """
        jobs = await self._spool.jobs(states={"in_doubt"}, limit=1000)
        # This comes after reading the list, so that the list contains no job that is claimed from now on.
        under_way = {deliverer.job.id for deliverer in self._deliverers.values() if deliverer.job is not None}
        for job in jobs:
            with suppress(InputError):  # its message is gone, or a person was quicker
                if job.id not in under_way:
                    await self._resubmit(job)

    async def _resubmit(self, job: Job) -> None:
        if job.delivering:
            # The deliverer that awaited the reply could not store that it has stopped waiting.
            job = await self._spool.abandon(job.id)
        wait = (await self._policies.of(job.pipeline)).resubmit_after
        if wait is None or job.doubts != 1:
            return
        if job.next_attempt is None:
            job = await self._spool.schedule_resubmission(job.id, job.changed_at + wait)
        if job.next_attempt is not None and self._device.now() >= job.next_attempt:
            logger.info("A job has been in doubt for a while, and is sent again", extra={"job": job.id})
            await self._spool.retry(job.id)
