"""Slowing down the guessing of passwords, without locking anybody out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_DELAY: Final = 1.0
_MAX_DELAY: Final = 30.0
"""Seconds before a refusal is sent: doubled for each failure in a row, up to the longest."""

_FORGOTTEN_AFTER: Final = 600.0
"""Seconds after which an address's failures do not count any more."""

_MAX_ADDRESSES: Final = 10_000
"""Addresses whose failures are remembered; then the oldest is forgotten."""


class SignInDelay:
    """Counts the failed sign-ins of each address, over all of its connections.

    Only refusals are delayed: a device whose password was wrong yesterday signs in at once today.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Begin without failures; `monotonic` returns the time in seconds."""
        self._monotonic = monotonic
        self._failures: dict[str, tuple[int, float]] = {}

    def failed(self, address: str) -> float:
        """Count a failed sign-in, and return for how many seconds to delay the refusal."""
        now = self._monotonic()
        count, last = self._failures.pop(address, (0, now))
        count = 1 if now - last > _FORGOTTEN_AFTER else count + 1
        # The latest is the last, so the first is the oldest.
        self._failures[address] = count, now
        if len(self._failures) > _MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        return min(_FIRST_DELAY * 2.0 ** min(count - 1, 10), _MAX_DELAY)

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address."""
        self._failures.pop(address, None)
