"""Runs one task in a confined process, with limits on time, memory and written files.

Mails and documents from anybody are opened only there. The process gets a working folder, no environment and none of
our open files. Each task has its own, forked by `mailslot_plugins.intake.fork_server`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import anyio.to_thread

from mailslot.spool.errors import busy_error, writing
from mailslot_plugins.intake.fork_client import ForkServer
from mailslot_plugins.intake.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mailslot.spool.errors import SpoolError
    from mailslot_plugins.intake.fork_client import ForkedProcess

MAX_OUTPUT: Final = 4 << 20
_MAX_STDERR: Final = 20_000
_MAX_CODE: Final = 16
_PIECE: Final = 65536

logger = logging.getLogger(__name__)


class IntakeError(Exception):
    """A mail or document cannot be opened; the text is one sentence that says why."""


_server: Final = ForkServer()


async def run_task(task: str, request: Mapping[str, Any], folder: Path, limits: Limits | None = None) -> dict[str, Any]:
    """Run a task of `mailslot_plugins.intake.tasks` and return its result.

    Args:
        task: its name.
        request: its arguments, as JSON values.
        folder: its working folder, which must exist.
        limits: its limits; None for the defaults.

    Raises:
        IntakeError: it failed, exceeded its limits, or crashed.
        SpoolError: that is no fault of what was opened: the disk is full, or the system has no room for a process.
    """
    limits = limits or Limits()
    run = _Run(json.dumps({"task": task, "request": request, "limits": limits.as_json()}).encode())
    with anyio.move_on_after(2 * limits.seconds) as patience:
        try:
            await run.run(folder)
            if run.code is None:
                # The fork server ended just when it got the order.
                await anyio.to_thread.run_sync(_server.forget, run.server)
                await run.run(folder)
        except OSError as error:
            raise _cannot_start(str(error)) from error
    if run.errors:
        logger.debug("While %s was done: %s", task, run.errors.decode("utf-8", "replace"))
    if patience.cancelled_caught:
        raise IntakeError("It takes too long to open.")
    if run.code is None:
        raise _cannot_start("no process was started, or what forks them has ended")
    return _parse_output(run.code, bytes(run.output), folder)


class _Run:
    """One process.

    Attributes:
        output: its output.
        errors: the beginning of its standard error.
        code: its exit code, negative for a signal; None if it is not known to have run.
        server: the number of the fork server that got the order.
    """

    def __init__(self, input_octets: bytes) -> None:
        self._input = input_octets
        self.output = bytearray()
        self.errors = bytearray()
        self.code: int | None = None
        self.server = 0

    async def run(self, folder: Path) -> None:
        """Run it to its end; on cancellation, kill it with all processes that it has started."""
        forked: ForkedProcess | None = None
        # On asyncio, a cancellation would lose the sockets that the thread returns.
        with anyio.CancelScope(shield=True):
            forked, self.server = await anyio.to_thread.run_sync(_server.order, folder)
        assert forked is not None  # noqa: S101 - a shield swallows nothing
        code = bytearray()
        with ExitStack() as stack:
            for each in forked:
                stack.enter_context(each).settimeout(0)
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(_read, forked.stream, self.output, MAX_OUTPUT + 1)
                    group.start_soon(_read, forked.errors, self.errors, _MAX_STDERR)
                    group.start_soon(_read, forked.control, code, _MAX_CODE)
                    await _write(forked.stream, self._input)
            finally:
                # It must not write into its folder after this has returned.
                with anyio.CancelScope(shield=True), suppress(OSError):
                    forked.control.shutdown(socket.SHUT_WR)
                    await _read(forked.control, code, _MAX_CODE)
        self.code = int(code) if code else None


async def _read(source: socket.socket, target: bytearray, limit: int) -> None:
    """Read until the end; what is over the limit is discarded."""
    while True:
        await anyio.wait_readable(source)
        try:
            octets = source.recv(_PIECE)
        except BlockingIOError:
            continue
        except ConnectionResetError:
            return
        if not octets:
            return
        if len(target) < limit:
            target += octets


async def _write(target: socket.socket, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        try:
            view = view[target.send(view) :]
        except BlockingIOError:
            await anyio.wait_writable(target)
        except (BrokenPipeError, ConnectionResetError):
            return
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _cannot_start(detail: str) -> SpoolError:
    return busy_error("Nothing can be opened at the moment: this machine has no room for another process.", detail)


def _parse_output(code: int, output: bytes, folder: Path) -> dict[str, Any]:
    if code == -signal.SIGXCPU:
        raise IntakeError("It takes too long to open.")
    if code == -signal.SIGXFSZ:
        raise IntakeError("It becomes too large when it is opened.")
    try:
        parsed = json.loads(output) if len(output) <= MAX_OUTPUT else None
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise IntakeError("It cannot be opened: the program that reads it crashed.")
    result = cast("dict[str, Any]", parsed)
    if "no_room" in result:
        with writing(folder):
            raise OSError(result["no_room"], os.strerror(result["no_room"]))
    if "refused" in result:
        raise IntakeError(str(result["refused"]))
    return result
