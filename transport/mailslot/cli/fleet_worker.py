"""The process of ``mailslot fleet worker``."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import anyio

from mailslot.cli.serving import exit_after_timeout, listener, raise_file_limit
from mailslot.errors import InputError, MailError
from mailslot.fleet.metrics_listener import serving_metrics
from mailslot.service.log import set_up_logging
from mailslot.service.pipeline import find_pipelines
from mailslot.service.systemd import ServiceManager

if TYPE_CHECKING:
    from mailslot.fleet.homes import FleetHomes
    from mailslot.fleet.worker import FleetWorker


def run_worker(homes: FleetHomes, tasks: int, renewals: int, log: str | None, metrics: str | None) -> None:
    """Work for a fleet until a signal comes.

    Args:
        homes: the homes of its devices.
        tasks: the maximum of tasks other than renewals at the same time.
        renewals: the maximum of renewals at the same time.
        log: the format of the log; None to choose it by the stream.
        metrics: where metrics are served, as ``HOST:PORT``; None for nowhere.

    Raises:
        InputError: the extra is missing, or the database or the address for metrics cannot be used.
    """
    try:
        from mailslot.fleet.worker import FleetWorker  # noqa: PLC0415 - it needs the extra
    except ImportError as error:
        raise InputError(
            "A fleet's worker needs procrastinate: pip install 'mailslot[fleet]'.", stage="resolve", detail=str(error)
        ) from error
    raise_file_limit()
    written = set_up_logging(sys.stderr, plain=sys.stderr.isatty() if log is None else log == "plain")
    # It logs each wake-up.
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    manager = ServiceManager.from_environment(os.environ, os.getpid())
    worker = FleetWorker(homes, find_pipelines(), work=tasks, renewals=renewals)
    try:
        with nullcontext() if metrics is None else serving_metrics(listener(metrics), worker.metrics):
            anyio.run(_run, worker, manager)
    finally:
        homes.database.close()
        written.flush()


async def _run(worker: FleetWorker, manager: ServiceManager) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:

        async def stopped() -> None:
            async for _ in signals:
                break
            manager.stopping()
            exit_after_timeout()

        failure: MailError | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(manager.keep_watchdog)
            try:
                await worker.run(stopped, manager.ready)
            except MailError as error:
                # Raised below, so that no group wraps it.
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
