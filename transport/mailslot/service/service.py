"""The service: delivery, polling, the pipelines' own tasks and token refresh, until it is stopped."""

from __future__ import annotations

import logging
import math
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import MailError
from mailslot.exit_guard import ExitGuard, guard_tasks
from mailslot.service.account_polling import AccountPolling
from mailslot.service.log import describe_error
from mailslot.service.pipeline import account_poller, pollers
from mailslot.service.poll_loop import PollLoop
from mailslot.service.service_lock import LOCK_TIMEOUT, SERVICE_LOCK
from mailslot.service.tables import STORE, note_tables
from mailslot.service.token_refresh import refresh_tokens
from mailslot.service.worker import GRACE, Worker
from mailslot.slots.slot import PROTOCOLS
from mailslot.spool.locks import exclusive_lock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from mailslot.service.device import Device
    from mailslot.service.pipeline import Pipeline
    from mailslot.service.systemd import ServiceManager

    Work = Callable[[], Awaitable[None]]

_SETTINGS_CHECK_INTERVAL: Final = 2.0
"""Seconds between two checks of the settings file, by the machine's clock."""

_SPOOL_CHECK_INTERVAL: Final = 2.0
"""Seconds between two checks whether the spool's files were replaced."""

_FULL_SPOOL_CHECK_INTERVAL: Final = 30.0
"""Seconds between two full checks of the spool."""

_FIRST_PAUSE: Final = 1.0
_MAX_PAUSE: Final = 300.0
_STABLE_AFTER: Final = 600.0
"""Seconds after which a task counts as working, so that it is restarted soon if it fails."""

logger = logging.getLogger(__name__)


class Service:
    """The service of one home folder.

    Args:
        device: the device.
        pipelines: the pipelines to run.
        manager: the service manager to notify.
        extra_tasks: further tasks with their names, such as the panel.
        worker: the worker; None to make one.
    """

    def __init__(
        self,
        device: Device,
        pipelines: Sequence[Pipeline],
        manager: ServiceManager,
        *,
        extra_tasks: Iterable[tuple[str, Work]] = (),
        worker: Worker | None = None,
    ) -> None:
        self._device = device
        self._pipelines = pipelines
        self._manager = manager
        self._extra_tasks = tuple(extra_tasks)
        self._worker = worker or Worker(device)
        self._delivered = anyio.Event()
        self._drained: list[anyio.Event] = []
        self._fault: MailError | None = None

    async def run(
        self,
        stopped: Callable[[], Awaitable[None]],
        ready: Callable[[], None] = lambda: None,
        ending: Callable[[], None] = lambda: None,
    ) -> None:
        """Run until `stopped` returns, and then stop within ten seconds.

        Args:
            stopped: returns when the service is to stop, such as `wait_for_signal`.
            ready: called when everything has started.
            ending: called when the service ends because it cannot continue.

        Raises:
            SpoolError: `spool_busy`, another process serves this home folder; `spool_unreadable`, the list of jobs was
                removed, replaced or damaged while it ran, so that the service manager must restart it.
        """
        home = self._device.records.place
        sentence = f"Another process of mailslot serves {home.name} already."
        with guard_tasks():
            async with (
                exclusive_lock(home.lock(SERVICE_LOCK, timeout=LOCK_TIMEOUT), sentence),
                anyio.create_task_group() as group,
            ):
                await self._device.remove_abandoned_folders()
                with suppress(MailError):
                    await note_tables(self._device.store(STORE))
                group.start_soon(self._watch_spool, group.cancel_scope, ending)
                for name, work in self._tasks():
                    group.start_soon(self._supervise, name, work)
                self._manager.ready()
                if await run_sync(self._device.records.settings.version) is None:
                    # This is also the case if the disk is not mounted.
                    logger.warning(
                        "There are no settings in %s: nothing is sent or polled", self._device.records.settings.path
                    )
                logger.info("The service is ready")
                ready()
                await stopped()
                self._manager.stopping()
                logger.info("The service stops")
                self._device.stop()
                await self._worker.stop()
                with anyio.move_on_after(GRACE + 0.5):
                    for ended in (self._delivered, *self._drained):
                        await ended.wait()
                group.cancel_scope.cancel()
        if self._fault is not None:
            raise self._fault
        logger.info("The service has stopped")

    def _tasks(self) -> list[tuple[str, Work]]:
        tasks: list[tuple[str, Work]] = [
            ("watchdog", self._manager.keep_watchdog),
            ("settings", self._watch_settings),
            ("delivery", self._deliver),
            ("tokens", partial(refresh_tokens, self._device)),
            ("status", self._report_status),
        ]
        for record, pipeline in pollers(self._pipelines).items():
            if PROTOCOLS.get(record) != "POP":
                logger.error("The pipeline %s wants to poll %s, which is not a POP record", pipeline.name, record)
                continue
            polling = PollLoop(self._device, record, pipeline)
            tasks += [(f"polling {record}", polling.run), (f"watching {record}", polling.watch)]
        if (handler := account_poller(self._pipelines)) is not None:
            tasks.append(("accounts", AccountPolling(self._device, handler, self._supervise).run))
        tasks += [(f"pipeline {each.name}", self._run_of(each)) for each in self._pipelines]
        return [*tasks, *self._extra_tasks]

    def _run_of(self, pipeline: Pipeline) -> Work:
        run = partial(pipeline.run, self._device)
        if getattr(pipeline, "drains", False) is not True:
            return run
        ended = anyio.Event()
        self._drained.append(ended)

        async def drain() -> None:
            try:
                await run()
            finally:
                if self._device.stopping.is_set():
                    ended.set()

        return drain

    async def _supervise(self, name: str, work: Work) -> None:
        """Run a task until it returns; if it fails, restart it after a pause, while the others continue."""
        pause = _FIRST_PAUSE
        while True:
            began = self._device.monotonic()
            try:
                with ExitGuard():
                    await work()
            except Exception as error:  # noqa: BLE001 - the other tasks must continue
                if self._device.monotonic() - began > _STABLE_AFTER:
                    pause = _FIRST_PAUSE
                logger.error(  # noqa: TRY400 - tracebacks may quote secrets
                    "The task failed, and is started again in %d seconds: %s",
                    pause,
                    describe_error(error),
                    extra={"task": name, "cause": error.cause if isinstance(error, MailError) else None},
                )
            else:
                return
            await self._device.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE)

    async def _watch_spool(self, all_tasks: anyio.CancelScope, ending: Callable[[], None]) -> None:
        """End all tasks when the spool is lost; the next start recreates the list of jobs from the messages."""
        spool, checked, versions = self._device.spool, -math.inf, None
        while True:
            # Read before the check, so that a change during the check is noticed next time.
            found = spool.file_versions()
            if found != versions or anyio.current_time() - checked >= _FULL_SPOOL_CHECK_INTERVAL:
                versions, checked = found, anyio.current_time()
                with suppress(MailError):
                    await spool.check()
            if spool.loss_error is not None:
                break
            await anyio.sleep(_SPOOL_CHECK_INTERVAL)
        self._fault = spool.loss_error
        logger.error("The service ends, to be started again: %s", self._fault)
        ending()
        all_tasks.cancel()

    async def _deliver(self) -> None:
        await self._worker.run()
        self._delivered.set()

    async def _watch_settings(self) -> None:
        sections = [pipeline.section for pipeline in self._pipelines if pipeline.section is not None]
        await self._device.refresh(sections)
        while True:
            await anyio.sleep(_SETTINGS_CHECK_INTERVAL)
            if await self._device.refresh():
                logger.info("The settings were read again")

    async def _report_status(self) -> None:
        if not self._manager.present:
            return
        while True:
            counts = await self._device.spool.count_by_state()
            waiting = sum(counts[state] for state in ("queued", "sending", "deferred", "in_doubt"))
            self._manager.status(f"{waiting} jobs wait, {counts['held']} need somebody, {counts['failed']} have failed")
            await anyio.sleep(10 * _SETTINGS_CHECK_INTERVAL)


async def wait_for_signal(
    device: Device, signals: AsyncIterator[signal.Signals], stopping: Callable[[], None] = lambda: None
) -> None:
    """Return at the first signal to stop; at SIGHUP, read the settings again.

    Args:
        device: the device.
        signals: from `anyio.open_signal_receiver`.
        stopping: called when that signal arrives.
    """
    async for number in signals:
        if number != signal.SIGHUP:
            stopping()
            return
        await device.refresh()
