"""Starts confined processes by a fork server; see `mailslot_plugins.intake.fork_server`."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from mailslot_plugins.intake.fork_server import LENGTH

if TYPE_CHECKING:
    from pathlib import Path


class ForkedProcess(NamedTuple):
    """Our ends of the sockets to a forked process.

    Attributes:
        stream: its standard input and output: the request and the result.
        errors: its standard error.
        control: receives its exit code in decimal digits; nothing if it was not started. Closing it kills the process.
    """

    stream: socket.socket
    errors: socket.socket
    control: socket.socket


class ForkServer:
    """The fork server, started when it is needed, and again if it has ended. This class is thread-safe.

    Attributes:
        program: the module that it runs.
    """

    program = "mailslot_plugins.intake.fork_server"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None
        self._owner = 0
        self._number = 0

    def order(self, folder: Path) -> tuple[ForkedProcess, int]:
        """Fork a process. Blocks for a moment.

        Args:
            folder: its working folder.

        Returns:
            the process, and the number of the fork server that forks it.

        Raises:
            OSError: the fork server cannot be started, or there are no file descriptors left.
        """
        with ExitStack() as ours, ExitStack() as theirs:
            pairs = [socket.socketpair() for _ in ForkedProcess._fields]
            for our_end, their_end in pairs:
                ours.enter_context(our_end)
                theirs.enter_context(their_end)
            descriptors = [their_end.fileno() for _, their_end in pairs]
            name = os.fsencode(folder)
            order = LENGTH.pack(len(name)) + name
            with self._lock:
                try:
                    socket.send_fds(self._connected(), [order], descriptors)
                except (BrokenPipeError, ConnectionResetError):
                    # It has ended because it was not needed for a while.
                    self._forget()
                    socket.send_fds(self._connected(), [order], descriptors)
                number = self._number
            ours.pop_all()
            return ForkedProcess(*(our_end for our_end, _ in pairs)), number

    def forget(self, number: int | None = None) -> None:
        """Start another fork server for the next process; this one ends, and kills its tasks.

        Args:
            number: the number of a fork server that has ended: the one that runs stays if it is another one. None ends
                whichever runs.
        """
        with self._lock:
            if number is None or number == self._number:
                self._forget()

    def _connected(self) -> socket.socket:
        if self._owner != os.getpid():
            # This process was itself forked, and its fork server belongs to its parent.
            self._process = self._orders = None
        if self._orders is None:
            self._start()
        assert self._orders is not None  # noqa: S101 - started
        return self._orders

    def _start(self) -> None:
        orders, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - a module of ours
                [sys.executable, "-P", "-m", self.program],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONDONTWRITEBYTECODE": "1"},
                start_new_session=True,
            )
        if self._owner != os.getpid():
            atexit.register(self.forget)
        self._orders, self._owner = orders, os.getpid()
        self._number += 1

    def _forget(self) -> None:
        if self._orders is not None:
            self._orders.close()
        if self._process is not None:
            # It ends when its orders end.
            self._process.wait()
        self._process = self._orders = None
