"""The lines of the demo's tables, and the time that each took."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a table.

    Attributes:
        service: the simulated mail service, or the gateway.
        what: the action.
        came: the result.
        ok: whether the result is as expected.
        seconds: the duration.
    """

    service: str
    what: str
    came: str
    ok: bool
    seconds: float


class Stopwatch:
    """Measures the steps: each lasts from the end of the previous one."""

    def __init__(self) -> None:
        self._last = perf_counter()

    def step(self, service: str, what: str, came: str, *, ok: bool) -> Step:
        """Return the step that ends now."""
        now = perf_counter()
        seconds, self._last = now - self._last, now
        return Step(service, what, came, ok, round(seconds, 4))
