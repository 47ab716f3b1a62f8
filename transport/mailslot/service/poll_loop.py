"""The poll loop of a record: it polls at an interval, and when the maildrop reports new mail."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import InputError, MailError
from mailslot.exit_guard import ExitGuard
from mailslot.service.circuit_breaker import SettingsWatch
from mailslot.service.handling import handle_waiting, next_due
from mailslot.service.poller import poll_once
from mailslot.slots.maildrop import PushingMaildrop, maildrop_of
from mailslot.spool.errors import SpoolError

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.service.pipeline import Pipeline
    from mailslot.service.poll_report import PollReport

_MINUTE: Final = 60.0
_FIRST_PAUSE: Final = 60.0
"""Seconds after a first temporary failure; doubled after each further one, up to the interval."""

_BUSY_PAUSE: Final = 15.0
_MIN_PAUSE: Final = 2.0
"""The minimum seconds between two polls that the maildrop triggers."""

_LOOK_AFTER: Final = 2.0
"""Seconds after which it is looked whether a person has obtained a token or changed a setting, after a failed poll."""

_LOOK_IN_DATABASE_AFTER: Final = 30.0
"""The same for a device in a database, which has many devices to answer."""

_FIRST_WATCH_PAUSE: Final = 5.0
"""Seconds after which a failed watch is resumed; doubled after each further failure, up to 15 minutes. After a
permanent failure it is at least a minute; waiting for changed settings is not enough, since a new token does not change
them."""
_MAX_WATCH_PAUSE: Final = 900.0

_WATCH_STABLE_AFTER: Final = 600.0
"""Seconds after which a watch counts as working, so that the next pause is short again."""

_MAX_WAIT: Final = 3600.0

logger = logging.getLogger(__name__)


def pause_after(report: PollReport, interval: float, failures: int) -> float:
    """Return the seconds from the beginning of a poll to the next one; infinity if none is planned.

    Args:
        report: the poll's report.
        interval: the seconds between two polls; 0.0 if polls are by hand only.
        failures: how many polls have failed in a row, this one included.
    """
    pause = interval or math.inf
    if report.ok and report.left:
        pause = 0.0
    elif report.retryable:
        pause = min(pause, _FIRST_PAUSE * 2 ** min(failures - 1, 10))
    return max(pause, report.pause)


class PollLoop:
    """The polling of one record.

    Args:
        device: the device.
        record: a POP record.
        pipeline: the pipeline that handles its mail.
    """

    def __init__(self, device: Device, record: str, pipeline: Pipeline) -> None:
        self._device = device
        self._record = record
        self._pipeline = pipeline
        self._interval = 0.0
        self._polled: float | None = None
        self._due: float | None = None
        self._failures = 0
        self._poll_requested = False
        self._sleep = anyio.CancelScope()
        self._settings_watch = SettingsWatch(device.records, record)
        self._look_after = _LOOK_AFTER if device.records.place.is_local else _LOOK_IN_DATABASE_AFTER

    async def run(self) -> None:
        """Poll, and handle waiting mail, until cancelled.

        Raises:
            MailError: the spool cannot be used.
        """
        while True:
            seen = self._device.changes
            await self._update_interval()
            try:
                if self._wait_for_poll() == 0:
                    await self._poll()
                else:
                    await self._handle()
            except SpoolError as error:
                if error.cause != "spool_busy":
                    raise
                # Another process is polling this record.
                logger.info("%s", error, extra={"record": self._record})
                await self._device.pause(_BUSY_PAUSE)
            with anyio.CancelScope() as self._sleep:
                await self._rest(seen)

    async def watch(self) -> None:
        """Watch the maildrop for new mail, if it supports that, and trigger polls, until cancelled."""
        pause = _FIRST_WATCH_PAUSE
        while True:
            began, seen = self._device.monotonic(), self._device.changes
            try:
                await self._watch_once(seen)
            except InputError:
                # A poll reports missing settings; a missing token is not a setting.
                await self._device.pause(_MAX_WATCH_PAUSE, seen=seen)
            except MailError as error:
                logger.warning(
                    "New mail is not told of: %s", error, extra={"record": self._record, "cause": error.cause}
                )
                if self._device.monotonic() - began >= _WATCH_STABLE_AFTER:
                    pause = _FIRST_WATCH_PAUSE
                await self._device.pause(pause if error.retryable else max(pause, _FIRST_PAUSE), seen=seen)
                pause = min(2 * pause, _MAX_WATCH_PAUSE)

    async def _watch_once(self, seen: int) -> None:
        """Watch until the settings change; if the maildrop does not support it, wait until then.

        Args:
            seen: `Device.changes` before this was called.
        """
        profile = await self._device.connector.profile(self._record)
        maildrop, options = await maildrop_of(profile.settings)
        failure: Exception | None = None
        async with anyio.create_task_group() as group:

            async def end_with_the_settings() -> None:
                await self._device.pause(math.inf, seen=seen)
                group.cancel_scope.cancel()

            group.start_soon(end_with_the_settings)
            try:
                if profile.auth is not None and isinstance(maildrop, PushingMaildrop):
                    with ExitGuard():
                        await maildrop.watch(profile, options, self._request_poll)
            except Exception as error:  # noqa: BLE001 - raised below, so that no group wraps it
                failure = error
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    def _request_poll(self) -> None:
        """Trigger a poll."""
        self._poll_requested = True
        self._sleep.cancel()

    async def _update_interval(self) -> None:
        """Read the poll interval; a record that is not configured is not polled until its settings change."""
        try:
            profile = await self._device.connector.profile(self._record)
            interval = profile.settings.check_interval * _MINUTE
        except InputError:
            interval = 0.0
        except MailError as error:
            # For example, the vault cannot be read; the next poll reports it.
            logger.warning("%s", error, extra={"record": self._record, "cause": error.cause})
            interval = self._interval
        if interval == self._interval:
            return
        self._interval = interval
        if not interval:
            self._due = None
        elif self._polled is None:
            self._due = self._device.monotonic()
        else:
            self._due = self._polled + interval

    async def _poll(self) -> None:
        began = self._device.monotonic()
        await self._settings_watch.changed()
        requested, self._poll_requested = self._poll_requested, False
        try:
            report = await poll_once(self._device, self._record, self._pipeline)
        except SpoolError:
            self._poll_requested = self._poll_requested or requested
            raise
        self._polled = began
        self._failures = 0 if report.ok else self._failures + 1
        pause = pause_after(report, self._interval, self._failures)
        self._due = began + pause if pause < math.inf else None

    async def _rest(self, seen: int) -> None:
        """Wait until something is due, or the settings are others than at `seen`.

        After a failed poll, wait also until a person has done something about it: a token or password that another
        process stores is no change of the settings, which would end the pause.
        """
        wait = await self._wait()
        while self._failures and wait > self._look_after:
            await self._device.pause(self._look_after, seen=seen)
            if await self._settings_watch.changed():
                self._poll_requested = True
                return
            if self._device.changes != seen:
                return
            wait = await self._wait()
        await self._device.pause(wait, seen=seen)

    async def _handle(self) -> None:
        if await next_due(self._device, self._record) == 0:
            async with self._device.spool.ledger.polling_lock(self._record):
                await handle_waiting(self._device, self._record, self._pipeline)

    async def _wait(self) -> float:
        """Return the seconds until the next poll or waiting mail is due."""
        due = await next_due(self._device, self._record)
        return min(each for each in (due, self._wait_for_poll(), _MAX_WAIT) if each is not None)

    def _wait_for_poll(self) -> float | None:
        """Return the seconds until the next poll; None if none is planned."""
        due_times = [] if self._due is None else [self._due]
        if self._poll_requested:
            due_times.append(0.0 if self._polled is None else self._polled + _MIN_PAUSE)
        return max(min(due_times) - self._device.monotonic(), 0.0) if due_times else None
