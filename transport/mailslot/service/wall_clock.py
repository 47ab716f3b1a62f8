"""Detection of changes of the wall clock, so that no job waits forever or expires too early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mailslot.oauth.timing import Clocks

MIN_STEP: Final = 60.0
"""The minimum seconds that count as a change; corrections by a time server are smaller."""


class WallClock:
    """The wall clock, compared with the monotonic clock.

    Args:
        clocks: the device's clocks.
        last_seen: the wall clock's time when the device was last up; None if unknown.
    """

    def __init__(self, clocks: Clocks, last_seen: float | None = None) -> None:
        self._clocks = clocks
        self._last_seen = last_seen
        self._started = clocks.monotonic()
        self._offset: float | None = None

    @property
    def up(self) -> float:
        """For how many seconds this has been watching the clock."""
        return self._clocks.monotonic() - self._started

    def step(self) -> float:
        """Return by how many seconds the clock was set forward since the last call; negative if it was set back.

        Time during which the device was off cannot be distinguished from a clock that was set forward. A clock that was
        set back in that time is detected.
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
        """Return the time to compare with the expiry of jobs.

        For some time after the start, the time during which the device was off does not count: the clock may have been
        set forward, and each job is to be tried at least once.

        Args:
            grace: the seconds of that time.
        """
        monotonic = self._clocks.monotonic()
        # The result of the last `step` is used, since the times of jobs were not shifted for later changes yet.
        wall = monotonic + self._offset if self._offset is not None else self._clocks.wall()
        up = monotonic - self._started
        return wall if self._last_seen is None or up >= grace else min(wall, self._last_seen + up)
