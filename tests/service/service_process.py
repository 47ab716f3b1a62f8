"""Runs ``mailslot serve`` in a separate process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from anyio.streams.buffered import BufferedByteReceiveStream

import command_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from anyio.abc import Process

MAIN = "from mailslot.cli import main; main()"


def command(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-c", MAIN, "--home", str(home), *arguments]


async def mailslot(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command; return its exit code and what it wrote."""
    done = await anyio.to_thread.run_sync(lambda: command_line.mailslot("--home", home, *arguments))
    return done.returncode, done.stdout, done.stderr


class ServiceProcess:
    """A running service.

    Attributes:
        process: its process.
        lines: what it has logged.
        told: its notifications to the service manager.
    """

    def __init__(self, process: Process, manager: socket.socket) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self._manager = manager
        self._output_received = anyio.Event()
        self._ended = False
        self.notifications: list[str] = []

    async def read(self) -> None:
        assert self.process.stderr is not None
        stream = BufferedByteReceiveStream(self.process.stderr)
        with suppress(anyio.IncompleteRead, anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                line = (await stream.receive_until(b"\n", 100_000)).decode()
                self.lines.append(json.loads(line) if line.startswith("{") else {"message": line})
                self._output_received.set()
        self._ended = True
        self._output_received.set()

    async def until(self, test: Callable[[dict[str, Any]], bool], seconds: float = 120) -> dict[str, Any]:
        """Wait for a line of the log, or find it among those that have come."""
        with anyio.fail_after(seconds):
            while True:
                self._output_received = anyio.Event()
                for line in self.lines:
                    if test(line):
                        return line
                assert not self._ended, self.lines
                await self._output_received.wait()

    async def said(self, words: str, seconds: float = 120) -> dict[str, Any]:
        return await self.until(lambda line: words in line["message"], seconds)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it; return its exit code."""
        self.process.send_signal(number)
        with anyio.fail_after(120):
            return await self.process.wait()

    def read_notifications(self) -> list[str]:
        """Return all notifications to the service manager."""
        with suppress(BlockingIOError):
            while True:
                self.notifications.append(self._manager.recv(4096).decode())
        return self.notifications


@asynccontextmanager
async def serving(home: Path, *arguments: str, **environment: str) -> AsyncIterator[ServiceProcess]:
    """Run a service until the block ends; it is ready when the block begins."""
    address = f"@mailslot-{os.getpid()}-{id(home)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.bind(address.replace("@", "\0"))
        variables = {**os.environ, "NOTIFY_SOCKET": address, **environment}
        process = await anyio.open_process(
            command(home, "serve", "--log", "json", *arguments),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=variables,
        )
        failure: BaseException | None = None
        async with process, anyio.create_task_group() as group:
            served = ServiceProcess(process, manager)
            group.start_soon(served.read)
            try:
                await served.said("The service is ready")
                yield served
            except BaseException as error:  # noqa: BLE001 - raised below, so that the task group does not wrap it
                failure = error
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
            with anyio.CancelScope(shield=True):
                await process.wait()
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
