"""Counts a worker's wake-ups since its start, for its metrics."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Literal

from mailslot.service.metric_family import Family, as_text

Outcome = Literal["done", "nothing", "busy", "failed"]
"""The result of a wake-up: the work was done; nothing was due; another worker worked on it; or it failed."""


class WakeupCounter:
    """Counts wake-ups; it may be read from another thread."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._number: Counter[tuple[str, Outcome]] = Counter()
        self._seconds: dict[str, float] = {}

    def add(self, kind: str, outcome: Outcome, seconds: float) -> None:
        """Count a wake-up with its outcome and duration."""
        with self._mutex:
            self._number[kind, outcome] += 1
            self._seconds[kind] = self._seconds.get(kind, 0.0) + seconds

    def metrics(self) -> str:
        """Return the counts as text."""
        wakeups = Family("worker_wakeups_total", "counter", "Wake-ups of this worker since it started.")
        seconds = Family("worker_seconds_total", "counter", "Seconds that they have taken, side by side.")
        with self._mutex:
            for (kind, outcome), number in sorted(self._number.items()):
                wakeups.add(number, kind=kind, outcome=outcome)
            for kind, passed in sorted(self._seconds.items()):
                seconds.add(passed, kind=kind)
        return as_text([wakeups, seconds])
