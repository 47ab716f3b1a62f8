"""A log handler that writes in its own thread, so that a blocked output does not block the service.

Otherwise a pipe that nobody reads, a terminal after Ctrl-S or a full disk would block everything that logs: delivery,
the panel, and even the shutdown.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import threading
import time
from typing import Final

MAX_WAITING: Final = 1_000
"""The maximum lines that wait to be written; further ones are dropped, and counted."""

_FLUSH_TIMEOUT: Final = 1.0
"""The maximum seconds that `LogHandler.flush` waits."""


class LogHandler(logging.Handler):
    """Writes to an open file that may block.

    Args:
        descriptor: the file's descriptor. It is written to directly: at exit, Python's own buffer would be waited for
            while a thread is blocked in it.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[str] = queue.Queue(MAX_WAITING)
        self._left_out = 0
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, without blocking."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._left_out += 1

    def flush(self) -> None:
        """Wait until everything is written, for a limited time."""
        end = time.monotonic() + _FLUSH_TIMEOUT
        with self._lines.all_tasks_done:
            while self._lines.unfinished_tasks and (left := end - time.monotonic()) > 0:
                self._lines.all_tasks_done.wait(left)

    def _run(self) -> None:
        while True:
            line = self._lines.get()
            if not self._write(line):
                self._left_out += 1
            elif self._left_out and self._write(self._loss_line(self._left_out)):
                self._left_out = 0
            self._lines.task_done()

    def _loss_line(self, lines: int) -> str:
        words = "%d lines of the log were left out, since they could not be written"
        return self.format(logging.LogRecord(__name__, logging.WARNING, __file__, 0, words, (lines,), None))

    def _write(self, line: str) -> bool:
        """Write a line, blocking as long as necessary; return whether it was written."""
        octets = f"{line}\n".encode(errors="backslashreplace")
        while octets:
            try:
                octets = octets[os.write(self._descriptor, octets) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError:
                # The disk is full or the reader has gone; there is nowhere to report it.
                return False
        return True
