"""Polls a record for as long as the service runs: at its interval, on a clock that nobody sets."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError, MailError
from mailslot.service.handling import handle_waiting, next_due
from mailslot.service.poller import poll_once
from mailslot.spool.errors import SpoolError

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.service.pipeline import Pipeline
    from mailslot.service.poll_report import PollReport

_MINUTE: Final = 60.0
_FIRST_PAUSE: Final = 60.0
"""Seconds after a failure that may pass by itself; twice as many after each further one, up to the interval."""

_BUSY_PAUSE: Final = 15.0
_LONGEST_WAIT: Final = 3600.0

logger = logging.getLogger(__name__)


class Polling:
    """The polling of one record.

    Args:
        device: the device.
        record: the record.
        pipeline: what handles its mail.
    """

    def __init__(self, device: Device, record: str, pipeline: Pipeline) -> None:
        self._device = device
        self._record = record
        self._pipeline = pipeline
        self._interval = 0.0
        self._polled: float | None = None
        self._due: float | None = None
        self._failures = 0

    async def run(self) -> None:
        """Poll, and have handled what waits, until cancelled.

        Raises:
            MailError: the spool cannot be used.
        """
        while True:
            await self._look_up_interval()
            try:
                if self._due is not None and self._device.steady() >= self._due:
                    await self._poll()
                else:
                    await self._handle()
            except SpoolError as error:
                if error.cause != "spool_busy":
                    raise
                # Another process polls this record; what it does need not be done here.
                logger.info("%s", error, extra={"record": self._record})
                await self._device.pause(_BUSY_PAUSE)
            await self._device.pause(await self._wait())

    async def _look_up_interval(self) -> None:
        """See how often to poll; what is not set up is not polled, until its settings change."""
        try:
            access = await self._device.accesses.of(self._record)
            interval = access.settings.check_interval * _MINUTE
        except InputError:
            interval = 0.0
        except MailError as error:
            # Such as a vault that cannot be read; a poll says so at the interval.
            logger.warning("%s", error, extra={"record": self._record, "cause": error.cause})
            interval = self._interval
        if interval == self._interval:
            return
        self._interval = interval
        if not interval:
            self._due = None
        elif self._polled is None:
            self._due = self._device.steady()
        else:
            self._due = self._polled + interval

    async def _poll(self) -> None:
        began = self._device.steady()
        report = await poll_once(self._device, self._record, self._pipeline)
        self._polled = began
        self._failures = 0 if report.ok else self._failures + 1
        self._due = began + self._pause_after(report)

    def _pause_after(self, report: PollReport) -> float:
        pause = self._interval
        if report.ok and report.left:
            pause = 0.0
        elif report.retryable:
            pause = min(pause, _FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        return max(pause, report.pause)

    async def _handle(self) -> None:
        if await next_due(self._device, self._record) == 0:
            async with self._device.spool.ledger.polling(self._record):
                await handle_waiting(self._device, self._record, self._pipeline)

    async def _wait(self) -> float:
        """Return how long nothing is to be done."""
        due = await next_due(self._device, self._record)
        poll = None if self._due is None else max(self._due - self._device.steady(), 0.0)
        return min(each for each in (due, poll, _LONGEST_WAIT) if each is not None)
