"""The process of ``mailslot serve``, without typer, whose memory a service would keep."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.cli.home import open_records
from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.home.home import Home
    from mailslot.service.device import Device
    from mailslot.service.panel import Panel
    from mailslot.service.pipeline import Pipeline
    from mailslot.service.systemd import ServiceManager
    from mailslot.slots.records import Records

logger = logging.getLogger(__name__)

_MAX_FILES: Final = 65_536
"""Open files, enough for any number of listeners. Child processes inherit the limit, and some programs become slow with
a higher one."""

_EXIT_TIMEOUT: Final = 9.5
"""Seconds after which the process ends in any case; the files survive a crash at any time."""


def serve_home(home: Home, listen: str | None, backend: str, log: str | None) -> None:
    """Serve a home until a signal comes.

    Args:
        home: the home.
        listen: where the panel listens, as ``HOST:PORT``; None for no panel.
        backend: the event loop.
        log: the format of the log; None to choose it by the stream.

    Raises:
        MailError: it cannot be served.
    """
    from mailslot.service.log import set_up_logging  # noqa: PLC0415 - the service takes a while to import
    from mailslot.service.panel import find_panel  # noqa: PLC0415
    from mailslot.service.pipeline import find_pipelines  # noqa: PLC0415
    from mailslot.service.systemd import ServiceManager  # noqa: PLC0415

    raise_file_limit()
    written = set_up_logging(sys.stderr, plain=sys.stderr.isatty() if log is None else log == "plain")
    manager = ServiceManager.from_environment(os.environ, os.getpid())
    panel_of = find_panel() if listen is not None else None
    pipelines = find_pipelines()
    panel_listener = listener(listen) if listen is not None else None
    records = open_records(home)
    try:
        anyio.run(_serve, records, pipelines, manager, panel_of, panel_listener, backend=backend)
    except ModuleNotFoundError as error:
        if error.name != "trio":
            raise
        raise InputError("--backend trio needs trio: pip install 'mailslot[trio]'.", stage="resolve") from None
    finally:
        written.flush()


async def _serve(
    records: Records,
    pipelines: list[Pipeline],
    manager: ServiceManager,
    panel_of: Callable[[Device], Panel] | None,
    listener: socket.socket | None,
) -> None:
    from mailslot.service.device import open_device  # noqa: PLC0415
    from mailslot.service.service import Service, wait_for_signal  # noqa: PLC0415

    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with open_device(records, [each.section for each in pipelines if each.section is not None]) as device:
            more: list[tuple[str, Callable[[], Awaitable[None]]]] = []
            sentences: list[str] = []
            if panel_of is not None and listener is not None:
                panel = panel_of(device)
                sentences = await panel.announce(listener, terminal=sys.stderr.isatty())
                more.append(("panel", partial(panel.serve, listener)))
            service = Service(device, pipelines, manager, extra_tasks=more)
            stopped = partial(wait_for_signal, device, signals, exit_after_timeout)
            await service.run(stopped, partial(_announce, sentences), exit_after_timeout)


def raise_file_limit() -> None:
    """Raise the soft limit on open files, which is often 1,024: a device that sends a message needs two of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # A service manager may forbid it; then further connections wait.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _announce(sentences: list[str]) -> None:
    """Print sentences for the person who started the service; a terminal gets them directly, else the log does."""
    for sentence in sentences:
        if sys.stderr.isatty():
            sys.stderr.write(f"{sentence}\n")
        else:
            logger.info(sentence)


def exit_after_timeout() -> None:
    """Make sure that the process ends in time, even if a thread hangs."""
    timer = threading.Timer(_EXIT_TIMEOUT, os._exit, (1,))
    timer.daemon = True
    timer.start()


def listener(address: str) -> socket.socket:
    """Return a listening socket.

    Raises:
        InputError: the address is invalid, or cannot be listened on.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise InputError(f"{address!r} is not of the form HOST:PORT, such as 127.0.0.1:8080.", stage="resolve")
    try:
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, int(port)), family=family)
    except OSError as error:
        # The error of socket.create_server repeats the address.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise InputError(
            f"{address} cannot be listened to: {why}.", stage="connect", cause="not_configured", detail=str(error)
        ) from error
