"""A worker's work for a task: one step of what the service of a single device does continuously."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from typing import TYPE_CHECKING, Final, cast

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import InputError, MailError
from mailslot.fleet.application_tokens import is_missing, obtain_if_missing
from mailslot.fleet.breakers import Breakers, note_pauses, pause_of_task
from mailslot.fleet.claim import claimed
from mailslot.fleet.open_devices import OpenDevices
from mailslot.fleet.postgres.errors import DatabaseError
from mailslot.fleet.postgres.health import token_health, write_health
from mailslot.fleet.postgres.leases import LeaseLostError
from mailslot.fleet.postgres.local_messages import LocalMessages
from mailslot.fleet.postgres.tasks import KINDS, Kind, Planned
from mailslot.fleet.wakeup_counter import Outcome, WakeupCounter
from mailslot.oauth.grant_source import GrantSource
from mailslot.service.handling import handle_waiting
from mailslot.service.log import describe_error
from mailslot.service.pipeline import poller_of
from mailslot.service.poll_loop import pause_after
from mailslot.service.poller import STORE, poll_once
from mailslot.service.token_refresh import refresh_when_due
from mailslot.service.worker import Worker
from mailslot.spool.errors import SpoolError
from mailslot.spool.store import as_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from mailslot.fleet.claim import Claim
    from mailslot.fleet.homes import FleetHomes
    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.fleet.postgres.tasks import TaskRows
    from mailslot.oauth.timing import Clocks
    from mailslot.service.device import Device
    from mailslot.service.pipeline import Pipeline

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DAY: Final = 86_400.0
_FIRST_PAUSE_OF_APPLICATION: Final = 300.0
_LONGEST_PAUSE_OF_APPLICATION: Final = 6 * 3600.0
"""Seconds between an application's attempts to get a token for itself, at first and at most."""
_MIN_PAUSE: Final = 2.0
_MIN_RENEWAL_PAUSE: Final = 15.0
_RENEWALS_WITHIN: Final = 20.0
"""Seconds over which renewals are spread, since they are all due when devices are imported together."""

logger = logging.getLogger(__name__)


class DeviceWork:
    """The work of one process, for many tasks at a time.

    Args:
        homes: the homes of the devices.
        pipelines: the pipelines that handle mail.
        clocks: the clocks of all devices.

    Attributes:
        counter: counts wake-ups and their results.
    """

    def __init__(self, homes: FleetHomes, pipelines: Sequence[Pipeline], clocks: Clocks) -> None:
        self.counter = WakeupCounter()
        self._homes = homes
        self._pipelines = pipelines
        self._clocks = clocks
        # No tenant's name begins with a dot.
        self._messages = LocalMessages(homes.places.folder / ".messages")
        self._breakers = Breakers(homes.database)
        self._devices = OpenDevices(self._open)
        self._works: Mapping[Kind, Callable[[Claim, Device], Awaitable[None]]] = {
            "deliver": self._deliver,
            "poll": self._poll,
            "handle": self._handle,
            "renew": self._renew,
            "plan": self._plan,
        }

    async def aclose(self) -> None:
        """Close the devices that are still open, after the last task."""
        await self._devices.aclose()
        with anyio.CancelScope(shield=True):
            await run_sync(self._messages.remove)

    async def wake(self, tenant: str, device: str, record: str, kind: str) -> None:
        """Work for a task if it is due. Failures are logged, and the task gets another wake-up after a while."""
        extra = {"tenant": tenant, "device": device, "record": record}
        began = time.monotonic()
        outcome: Outcome = "failed"
        try:
            outcome = await self._wake(tenant, device, record, cast("Kind", kind))
        except SpoolError as error:
            if error.cause == "spool_busy":
                # Another worker works on it, or has just died and its lease has not ended yet.
                logger.info("%s", error, extra=extra)
                outcome = "busy"
            else:
                logger.warning("Work for a device has failed: %s", error, extra={**extra, "cause": error.cause})
        except MailError as error:
            logger.warning("Work for a device has failed: %s", error, extra={**extra, "cause": error.cause})
        except DatabaseError as error:
            logger.warning("Work for a device has failed: %s", error.strerror, extra=extra)
        except LeaseLostError:
            logger.info("Another worker has taken the work over", extra=extra)
            outcome = "busy"
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and other devices are not concerned
            logger.error("Work for a device has failed: %s", describe_error(error), extra=extra)  # noqa: TRY400 - tracebacks may quote secrets
        finally:
            self.counter.add(kind, outcome, time.monotonic() - began)

    def stop_waiting(self) -> None:
        """Stop waiting for other workers, since this one stops; running work may finish."""
        self._homes.keeper.stop_waiting()

    async def _wake(self, tenant: str, device: str, record: str, kind: Kind) -> Outcome:
        if kind not in KINDS:  # a newer version of mailslot has planned it
            return "nothing"
        async with self._devices.lend(tenant, device) as opened:
            if opened is None:
                return "nothing"
            async with claimed(self._homes.database, opened.home, record, kind) as claim:
                opened.is_gone = opened.is_gone or claim.state == "gone"
                if claim.state != "due":
                    return "busy" if claim.state == "served" else "nothing"
                note_pauses()
                gate = self._breakers.of(opened.home.device.tenant)
                try:
                    await self._works[kind](claim, await opened.device(self._clocks, gate))
                except SpoolError as error:
                    if error.cause == "spool_busy":
                        await claim.leave()
                    raise
        return "done"

    def _open(self, tenant: str, device: str) -> PostgresHome | None:
        found = self._homes.find(tenant, device)
        return None if found is None else self._homes.open(found, self._messages)

    async def _deliver(self, claim: Claim, device: Device) -> None:
        worker = Worker(device)
        probe = await worker.work_once()
        await claim.settle(lambda rows: rows.settle_delivery(worker.records, probe))

    async def _poll(self, claim: Claim, device: Device) -> None:
        record = claim.record
        pipeline, period = poller_of(self._pipelines, record), await run_sync(self._poll_period, device, record)
        if pipeline is None or not period:
            await claim.settle(lambda rows: rows.remove(record, "poll"))
            return
        began = device.monotonic()
        report = await poll_once(device, record, pipeline, stores_report=False)
        passed = device.monotonic() - began
        least = max(pause_of_task(), _MIN_PAUSE)
        if not report.ok and not report.retryable and await _is_grant_dead(device, record):
            # A new grant makes it due at once.
            least = max(least, _HOUR)

        def settle(rows: TaskRows) -> None:
            if report.contacted:
                rows.values.update(STORE, {record: as_json(record, report.summary())}, ())
            failures = 0 if report.ok else rows.failures(record, "poll") + 1
            pause = pause_after(report, period, failures) - passed
            rows.settle(record, "poll", max(pause, least), cause=report.cause)
            if report.fetched or report.copies or report.handled:
                rows.settle_handling(record)

        await claim.settle(settle)

    async def _handle(self, claim: Claim, device: Device) -> None:
        record = claim.record
        pipeline = poller_of(self._pipelines, record)
        if pipeline is None:
            await claim.settle(lambda rows: rows.settle(record, "handle", _DAY))
            return
        async with device.spool.ledger.polling_lock(record):
            await handle_waiting(device, record, pipeline)
        await claim.settle(lambda rows: rows.settle_handling(record))

    async def _renew(self, claim: Claim, device: Device) -> None:
        record = claim.record
        in_use = await run_sync(self._poll_period, device, record) > 0
        if (refused := await obtain_if_missing(device, record)) is not None:
            why, least = refused.cause, pause_of_task()

            def settle(rows: TaskRows) -> None:
                pause = min(
                    _FIRST_PAUSE_OF_APPLICATION * 2 ** rows.failures(record, "renew"), _LONGEST_PAUSE_OF_APPLICATION
                )
                rows.settle(record, "renew", max(pause, least), cause=why)

            await claim.settle(settle)
            return
        await refresh_when_due(device, record, in_use=in_use)
        seconds = await self._seconds_until_renewal(device, record)
        if seconds == math.inf:
            await claim.settle(lambda rows: rows.remove(record, "renew"))
            return
        grant = await device.records.tokens.store(record).load()
        cause = None if grant is None or grant.failure is None else grant.failure.cause
        pause = max(seconds, pause_of_task(), _MIN_RENEWAL_PAUSE)
        await claim.settle(lambda rows: rows.settle(record, "renew", pause, cause=cause))

    async def _plan(self, claim: Claim, device: Device) -> None:
        home = claim.home
        version = await run_sync(home.documents.configuration_version)
        await device.refresh()
        await device.remove_abandoned_folders()
        planned: list[Planned] = []
        unknown: list[str] = []
        health = await token_health(device)
        for each in device.slots.protocols:
            part = _part(home.device.number, each)
            if period := await run_sync(self._poll_period, device, each):
                planned.append(Planned(each, "poll", part * period, period))
            try:
                seconds = await self._seconds_until_renewal(device, each)
            except MailError as error:
                logger.warning("A token cannot be planned for: %s", error, extra={"record": each})
                unknown.append(each)
                continue
            if seconds < math.inf:
                planned.append(Planned(each, "renew", max(seconds, part * _RENEWALS_WITHIN)))

        def write(rows: TaskRows) -> None:
            rows.replan(planned, unknown)
            write_health(rows, health)
            with home.documents.within(rows):
                if home.documents.configuration_version() == version:
                    rows.remove(claim.record, "plan")

        await claim.settle(write)

    def _poll_period(self, device: Device, record: str) -> float:
        """Return the seconds between two polls of a record; 0.0 if it is not polled, or has no server yet. Blocks."""
        settings = device.records.settings.current().records.get(record)
        if settings is None or settings.server is None or device.slots.protocols.get(record) != "POP":
            return 0.0
        return 0.0 if poller_of(self._pipelines, record) is None else settings.check_interval * _MINUTE

    async def _seconds_until_renewal(self, device: Device, record: str) -> float:
        try:
            source = (await device.connector.profile(record)).token_source
        except InputError:
            return math.inf  # it is not configured
        if not isinstance(source, GrantSource):
            return math.inf
        if await is_missing(device, record):
            return 0.0
        in_use = await run_sync(self._poll_period, device, record) > 0
        return await source.seconds_until_refresh(in_use=in_use)


async def _is_grant_dead(device: Device, record: str) -> bool:
    """Return whether the provider has permanently refused to refresh a record's token."""
    try:
        grant = await device.records.tokens.store(record).load()
    except MailError:
        return False
    return grant is not None and grant.failure is not None and grant.failure.retry_at is None


def _part(device: int, record: str) -> float:
    """Return a number from 0 to 1 that is constant for a record, and evenly distributed over all records."""
    digest = hashlib.sha256(f"{device}/{record}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32
