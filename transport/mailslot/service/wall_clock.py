"""Noticing that the wall clock was set, so that no job waits for ever for it, or is given up too early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mailslot.oauth.timing import Clocks

MIN_STEP: Final = 60.0
"""Seconds by which a clock may be off before anything is made of it: what a time server corrects is less."""


class WallClock:
    """The wall clock, watched beside one that nobody sets.

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
        """Return by how many seconds it was set forth, or back (less than 0), since this was called last; else 0.0.

        Time that a device was off looks as if the clock had been set forth, and cannot be told from that. Being set
        back while it was off can.
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
        """Return the time by which jobs are given up.

        For a while after the start, the time that the device was off does not count: it may be that the clock was
        set forth meanwhile, and each job shall have its attempt in any case.

        Args:
            grace: the seconds of that while.
        """
        monotonic = self._clocks.monotonic()
        # As `was_set` last found it: what was set since then has not been told to the jobs yet.
        wall = monotonic + self._offset if self._offset is not None else self._clocks.wall()
        up = monotonic - self._started
        return wall if self._last_seen is None or up >= grace else min(wall, self._last_seen + up)
