"""The process that the confined processes are forked from.

To start Python and to load what opens a mail takes eighty milliseconds of processor time; to fork a process that has
loaded it takes two. Each task still has a process of its own, which sets its limits and ends. This one opens nothing
itself, has no environment and none of the service's open files, and ends when it was not needed for a while.

It takes orders from the socket that is its standard input. An order is the working folder of a task, with its length in
front, and three descriptors: what the task reads its request from and writes its result to; its standard error; and a
socket on which the exit code is sent once the process has ended. Where the other end of that is closed, the process is
killed.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

LENGTH: Final = struct.Struct("!H")
"""The length of a folder's name."""

DESCRIPTORS: Final = 3

PRELOADED: Final = ("child", "limits", "mime", "refusal", "tasks")
"""The modules of this package that a mail is opened with; what a document takes, the process loads itself."""

_IDLE_SECONDS: Final = 20.0


def main() -> None:
    """Fork processes until the service has ended, or none was wanted for a while."""
    os.umask(0o077)
    for name in PRELOADED:
        import_module(f"mailslot_plugins.intake.{name}")
    # What is there now is shared with all processes; a collection would write to it, and so copy it.
    gc.collect()
    gc.freeze()
    orders = socket.socket(fileno=os.dup(0))
    _Server(orders).run()


class _Server:
    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._controls: dict[int, socket.socket] = {}
        """The sockets on which the exit code of each process is sent, by its id."""
        self._ended, self._told = os.pipe()
        for descriptor in (self._ended, self._told):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _go_on)
        # The terminal sends it to all; the service decides when its tasks end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run(self) -> None:
        while True:
            wanted: list[socket.socket | int] = [self._orders, self._ended, *self._controls.values()]
            ready, _, _ = select.select(wanted, [], [], None if self._controls else _IDLE_SECONDS)
            if not ready:
                return
            if self._ended in ready:
                with suppress(BlockingIOError):
                    os.read(self._ended, 4096)
                self._collect()
            for process, control in list(self._controls.items()):
                if control in ready:
                    self._end(process)
            if self._orders in ready and not self._take_order():
                break
        for process in list(self._controls):
            self._end(process)

    def _take_order(self) -> bool:
        """Take an order; return False once there can be none any more."""
        length, descriptors, _, _ = socket.recv_fds(self._orders, LENGTH.size, DESCRIPTORS)
        if len(length) < LENGTH.size or len(descriptors) < DESCRIPTORS:
            return False
        (size,) = LENGTH.unpack(length)
        folder = self._orders.recv(size, socket.MSG_WAITALL)
        request, errors, control = descriptors
        process = os.fork()
        if process == 0:
            highest = max([self._orders.fileno(), self._told, *descriptors, *map(_descriptor, self._controls.values())])
            _run_task(folder, request, errors, highest)
        os.close(request)
        os.close(errors)
        self._controls[process] = socket.socket(fileno=control)
        return True

    def _collect(self) -> None:
        """Tell of the processes that have ended."""
        while self._controls:
            try:
                # Not yet reaped, its id cannot be another process's.
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            self._reap(found.si_pid)

    def _end(self, process: int) -> None:
        """Kill a process whose result nobody waits for."""
        _kill(process)
        self._reap(process)

    def _reap(self, process: int) -> None:
        _kill(process)
        _, status = os.waitpid(process, 0)
        with self._controls.pop(process) as control, suppress(OSError):
            control.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _go_on(number: int, frame: FrameType | None) -> None:
    """Do nothing: the descriptor for signals tells of it."""


def _kill(process: int) -> None:
    """Kill a process, and those that it has started, which are in its process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
    # It may not have made its group yet.
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _descriptor(control: socket.socket) -> int:
    return control.fileno()


def _run_task(folder: bytes, request: int, errors: int, highest: int) -> None:
    """Run one task in the process that was forked; never return."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for source, target in ((request, 0), (request, 1), (errors, 2)):
            os.dup2(source, target)
        os.closerange(3, highest + 1)
        os.chdir(folder)
        import_module("mailslot_plugins.intake.child").main()
        code = 0
    finally:
        # No clean-up of the process that it was forked from.
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
