"""For how long a process waits for the database, and what it does while the database is away."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for the database.

    Attributes:
        connect: seconds for a connection to each of its servers; libpq takes no less than two.
        wait: seconds for a free connection.
        unacknowledged: milliseconds that what was sent may stay unacknowledged (RFC 5482).
        pause: seconds after a failure in which the database is not asked, and whoever needs it is told so at once; 0
            if each one waits by itself.
    """

    connect: int
    wait: float
    unacknowledged: int
    pause: float


OF_WORKERS: Final = Patience(connect=10, wait=15.0, unacknowledged=30_000, pause=0.0)
"""Workers and commands have nothing to do without the database."""

OF_PAGES: Final = Patience(connect=2, wait=5.0, unacknowledged=5_000, pause=3.0)
"""People wait for a page, and each request that waits holds one of the threads that all requests share."""


class Outage:
    """Remembers that the database could not be used a moment ago. Its methods may be called in any thread.

    Args:
        pause: seconds after a failure in which nobody asks the database; then one does, and the others once that one
            could use it. With 0, everybody asks.
        monotonic: seconds of a monotonic clock.
    """

    def __init__(self, pause: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pause = pause
        self._monotonic = monotonic
        self._mutex = threading.Lock()
        self._until: float | None = None
        self._worked_at = -math.inf

    def ask(self) -> float | None:
        """Return a time for `failed` if the caller may use the database, and None if it may not."""
        with self._mutex:
            now = self._monotonic()
            if self._until is not None:
                if now < self._until:
                    return None
                self._until = now + self._pause  # the others wait for how it goes
            return now

    def failed(self, asked_at: float) -> None:
        """Note that the database could not be used, unless somebody has used it who has asked later."""
        with self._mutex:
            if self._pause and asked_at >= self._worked_at:
                self._until = self._monotonic() + self._pause

    def worked(self) -> None:
        """Note that the database could be used."""
        with self._mutex:
            self._worked_at = self._monotonic()
            self._until = None
