"""Rate limits: how many messages a device may send within a time."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailslot.slots.gateway.device_entry import DeviceEntry, Limit

_BUCKETS: Final = 60
"""The number of counters that the time is divided into, so that memory does not grow with the limit."""


class SlidingCount:
    """Counts messages in a sliding window; each counts for up to a sixtieth of the window longer.

    Args:
        limit: the number of messages, and the seconds of the window.
    """

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._width = limit.seconds / _BUCKETS
        self._buckets: deque[tuple[int, int]] = deque()

    def wait(self, now: float) -> float:
        """Return the seconds until another message is allowed; 0.0 for now.

        Args:
            now: seconds by a monotonic clock.
        """
        current = math.floor(now / self._width)
        while self._buckets and self._buckets[0][0] < current - _BUCKETS:
            self._buckets.popleft()
        left = sum(count for _, count in self._buckets)
        for bucket, count in self._buckets:
            if left < self._limit.messages:
                break
            left -= count
            if left < self._limit.messages:
                return (bucket + 1 + _BUCKETS) * self._width - now
        return 0.0

    def count(self, now: float) -> None:
        """Count a message."""
        current = math.floor(now / self._width)
        before = self._buckets.pop()[1] if self._buckets and self._buckets[-1][0] == current else 0
        self._buckets.append((current, before + 1))


class RateLimits:
    """The counts of all devices.

    Args:
        monotonic: returns seconds by a monotonic clock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._counts: dict[str, tuple[Sequence[Limit], list[SlidingCount]]] = {}

    def wait(self, entry: DeviceEntry) -> float:
        """Return the seconds until a device may send another message; 0.0 for now."""
        now = self._monotonic()
        return max((count.wait(now) for count in self._of(entry)), default=0.0)

    def count(self, entry: DeviceEntry) -> None:
        """Count a message of a device."""
        now = self._monotonic()
        for count in self._of(entry):
            count.count(now)

    def forget_except(self, names: frozenset[str]) -> None:
        """Forget the counts of devices that no longer exist."""
        self._counts = {name: kept for name, kept in self._counts.items() if name in names}

    def _of(self, entry: DeviceEntry) -> list[SlidingCount]:
        known = self._counts.get(entry.name)
        if known is None or known[0] != entry.limits:
            known = self._counts[entry.name] = (entry.limits, [SlidingCount(limit) for limit in entry.limits])
        return known[1]
