"""The process of ``mailslot fleet panel``."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from mailslot.cli.serving import exit_after_timeout, listener, raise_file_limit
from mailslot.errors import MailError
from mailslot.fleet.panel import find_fleet_panel
from mailslot.service.log import set_up_logging
from mailslot.service.systemd import ServiceManager

if TYPE_CHECKING:
    import socket

    from mailslot.fleet.homes import FleetHomes
    from mailslot.fleet.panel import FleetPanel

logger = logging.getLogger(__name__)


def run_panel(homes: FleetHomes, listen: str, settings: Path, log: str | None) -> None:
    """Show the panel until a signal comes.

    Args:
        homes: the homes of the devices.
        listen: where it listens, as ``HOST:PORT``.
        settings: its settings file.
        log: how to log; None for what suits the stream.

    Raises:
        MailError: it cannot be shown.
    """
    raise_file_limit()
    written = set_up_logging(sys.stderr, plain=sys.stderr.isatty() if log is None else log == "plain")
    manager = ServiceManager.from_environment(os.environ, os.getpid())
    panel = find_fleet_panel()(homes, settings.absolute())
    opened = listener(listen)
    try:
        anyio.run(_run, panel, opened, manager)
    finally:
        homes.database.close()
        written.flush()


async def _run(panel: FleetPanel, opened: socket.socket, manager: ServiceManager) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        for sentence in await panel.announce(opened):
            logger.info(sentence)
        failure: MailError | None = None
        async with anyio.create_task_group() as group:

            async def serve() -> None:
                nonlocal failure
                try:
                    await panel.serve(opened)
                except MailError as error:
                    failure = error
                    group.cancel_scope.cancel()

            group.start_soon(manager.keep_watchdog)
            group.start_soon(serve)
            manager.ready()
            async for _ in signals:
                break
            manager.stopping()
            exit_after_timeout()
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
