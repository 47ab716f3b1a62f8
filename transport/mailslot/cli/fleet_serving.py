"""The processes of ``mailslot fleet panel`` and ``mailslot fleet sign-in``."""

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
from mailslot.fleet.pages import PAGES
from mailslot.fleet.panel import find_fleet_panel
from mailslot.service.log import set_up_logging
from mailslot.service.systemd import ServiceManager

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable

    from mailslot.fleet.homes import FleetHomes

logger = logging.getLogger(__name__)


def run_panel(homes: FleetHomes, listen: str, settings: Path, log: str | None) -> None:
    """Serve the panel until a signal comes.

    Args:
        homes: the homes of the devices.
        listen: where it listens, as ``HOST:PORT``.
        settings: its settings file.
        log: how to log; None for what suits the stream.

    Raises:
        MailError: it cannot be served.
    """
    panel = find_fleet_panel()(homes, settings.absolute())
    _run_until_stopped(homes, listen, log, panel.announce, panel.serve)


def run_sign_in(homes: FleetHomes, base: str, listen: str, tls: ssl.SSLContext | None, log: str | None) -> None:
    """Serve the pages where owners of mailboxes sign in until a signal comes.

    Args:
        homes: the homes of the devices.
        base: the https address of the pages.
        listen: where they are served, as ``HOST:PORT``.
        tls: the TLS context; None if a proxy does TLS.
        log: how to log; None for what suits the stream.

    Raises:
        MailError: they cannot be served.
    """
    serve = PAGES.find("sign-in")

    async def announce(opened: socket.socket) -> list[str]:
        host, port = opened.getsockname()[:2]
        return [f"The pages are at {base}/ and listen on {host}, port {port}."]

    _run_until_stopped(homes, listen, log, announce, lambda opened: serve(homes, base, opened, tls))


def _run_until_stopped(
    homes: FleetHomes,
    listen: str,
    log: str | None,
    announce: Callable[[socket.socket], Awaitable[list[str]]],
    serve: Callable[[socket.socket], Awaitable[None]],
) -> None:
    raise_file_limit()
    written = set_up_logging(sys.stderr, plain=sys.stderr.isatty() if log is None else log == "plain")
    manager = ServiceManager.from_environment(os.environ, os.getpid())
    opened = listener(listen)
    try:
        anyio.run(_run, opened, manager, announce, serve)
    finally:
        homes.database.close()
        written.flush()


async def _run(
    opened: socket.socket,
    manager: ServiceManager,
    announce: Callable[[socket.socket], Awaitable[list[str]]],
    serve: Callable[[socket.socket], Awaitable[None]],
) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        for sentence in await announce(opened):
            logger.info(sentence)
        failure: MailError | None = None
        async with anyio.create_task_group() as group:

            async def serve_until_cancelled() -> None:
                nonlocal failure
                try:
                    await serve(opened)
                except MailError as error:
                    failure = error
                    group.cancel_scope.cancel()

            group.start_soon(manager.keep_watchdog)
            group.start_soon(serve_until_cancelled)
            manager.ready()
            async for _ in signals:
                break
            manager.stopping()
            exit_after_timeout()
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
