"""Slowing down the guessing of passwords, without locking anybody out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_DELAY: Final = 1.0
_MAX_DELAY: Final = 30.0
"""Seconds before a refusal is sent: doubled for each consecutive failure, up to the maximum."""

_FORGOTTEN_AFTER: Final = 600.0
"""Seconds after which an address's failures no longer count."""

_MAX_ADDRESSES: Final = 10_000
"""Addresses whose failures are counted; beyond this, the oldest is forgotten."""


class SignInDelay:
    """Counts the failed sign-ins of each address, over all of its connections.

    Only refusals are delayed: a device whose password was wrong yesterday signs in at once today.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Create a counter; `monotonic` returns seconds of a monotonic clock."""
        self._monotonic = monotonic
        self._failures: dict[str, tuple[int, float]] = {}

    def failed(self, address: str) -> float:
        """Count a failed sign-in, and return the seconds by which to delay the refusal."""
        now = self._monotonic()
        count, last = self._failures.pop(address, (0, now))
        count = 1 if now - last > _FORGOTTEN_AFTER else count + 1
        # The dictionary is in order of time, so the first one is the oldest.
        self._failures[address] = count, now
        if len(self._failures) > _MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        return min(_FIRST_DELAY * 2.0 ** min(count - 1, 10), _MAX_DELAY)

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address."""
        self._failures.pop(address, None)
