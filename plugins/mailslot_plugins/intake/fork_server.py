"""The fork server, from which the confined processes are forked.

Starting Python and loading the modules that open a mail takes 80 ms of processor time; forking a process that has
loaded them takes 2 ms. Each task still has its own process, which sets its limits and ends. The fork server itself
opens no mail, has no environment and none of the service's open files, and ends when it was not needed for a while.

It receives orders on the socket that is its standard input. An order is the task's working folder, preceded by its
length, and three descriptors: for the request and the result; for standard error; and a control socket, on which the
exit code is sent when the process has ended. If the other end of the control socket is closed, the process is killed.
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
"""The format of the length of a folder's name."""

DESCRIPTORS: Final = 3

PRELOADED: Final = ("child", "limits", "mime", "refusal", "tasks")
"""The modules of this package that open a mail; modules for documents are loaded by the processes that need them."""

_IDLE_SECONDS: Final = 20.0


def main() -> None:
    """Fork processes until the service ends, or none was ordered for a while."""
    os.umask(0o077)
    for name in PRELOADED:
        import_module(f"mailslot_plugins.intake.{name}")
    # The objects so far are shared with all processes; garbage collection would write to their memory, and so copy it.
    gc.collect()
    gc.freeze()
    orders = socket.socket(fileno=os.dup(0))
    _Server(orders).run()


class _Server:
    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._controls: dict[int, socket.socket] = {}
        """The control socket of each process, by process id."""
        self._ended, self._told = os.pipe()
        for descriptor in (self._ended, self._told):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _go_on)
        # The terminal sends SIGINT to all processes; the service decides when its tasks end.
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
        """Take an order; return False at the end of the orders."""
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
        """Send the exit codes of the processes that have ended."""
        while self._controls:
            try:
                # Until it is reaped, its id cannot belong to another process.
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            self._reap(found.si_pid)

    def _end(self, process: int) -> None:
        """Kill a process whose control socket was closed."""
        _kill(process)
        self._reap(process)

    def _reap(self, process: int) -> None:
        _kill(process)
        _, status = os.waitpid(process, 0)
        with self._controls.pop(process) as control, suppress(OSError):
            control.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _go_on(number: int, frame: FrameType | None) -> None:
    """Do nothing: the signal is received by the wakeup descriptor."""


def _kill(process: int) -> None:
    """Kill a process and its process group, which has the processes that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
    # It may not have created its group yet.
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _descriptor(control: socket.socket) -> int:
    return control.fileno()


def _run_task(folder: bytes, request: int, errors: int, highest: int) -> None:
    """Run one task in a forked process; never return."""
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
        # Skip the clean-up handlers inherited from the fork server.
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
