"""Detection of changes of the wall clock, so that no job waits for ever or is given up too early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mailslot.oauth.timing import Clocks

MIN_STEP: Final = 60.0
"""Seconds by which a clock may be off before anything is made of it: what a time server corrects is less."""


class WallClock:
    """The wall clock, compared with the monotonic clock.

    Args:
        clocks: both.
        last_seen: what the wall clock said when the device was last up; None where that is not known.
    """

    def __init__(self, clocks: Clocks, last_seen: float | None = None) -> None:
        self._clocks = clocks
        self._last_seen = last_seen
        self._started = clocks.monotonic()
        self._offset: float | None = None

    def step(self) -> float:
        """Return by how many seconds the clock was set forward (or back, below 0) since the last call; else 0.0.

        Time that a device was off looks like a clock that was set forward, and cannot be told from it. A clock that was
        set back meanwhile can.
        """
        wall, monotonic = self._clocks.wall(), self._clocks.monotonic()
        if self._offset is None:
            self._offset = wall - monotonic
            back = 0.0 if self._last_seen is None else wall - self._last_seen
            return back if back < -MIN_STEP else 0.0
        moved = wall - monotonic - self._offset
        if abs(moved) < MIN_STEP:
            return 0.0
        self._offset += moved
        if self._last_seen is not None:
            self._last_seen += moved
        return moved

    def expiry_time(self, grace: float) -> float:
        """Return the time by which jobs expire.

        For a while after the start, the time that the device was off does not count: the clock may have been set
        forward meanwhile, and each job shall be tried at least once.

        Args:
            grace: the seconds of that while.
        """
        monotonic = self._clocks.monotonic()
        # As `was_set` last found it: what was set since then has not been told to the jobs yet.
        wall = monotonic + self._offset if self._offset is not None else self._clocks.wall()
        up = monotonic - self._started
        return wall if self._last_seen is None or up >= grace else min(wall, self._last_seen + up)
