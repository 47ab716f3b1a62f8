"""Guessing is slowed down, and nobody is locked out for good.

After a few wrong guesses, an address waits longer and longer before the next; and when many addresses guess, all those
wait that are not known. An address from which the administrator has signed in before is known, as is this machine:
there, only its own mistakes count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot_plugins.panel.security.addresses import is_loopback, neighbourhood

if TYPE_CHECKING:
    from collections.abc import Callable

FREE: Final = 3
"""Wrong guesses that cost nothing."""

LONGEST: Final = 60.0
"""Seconds that an address waits at most."""

FORGOTTEN: Final = 900.0
"""Seconds after which wrong guesses no longer count."""

FREE_IN_TOTAL: Final = 30
SPACING: Final = 2.0
"""Seconds between two guesses of all unknown addresses together, after so many wrong ones."""

MOST: Final = 4096
"""Addresses that are remembered."""


@dataclass(slots=True)
class _Guesses:
    wrong: int = 0
    last: float = 0.0


class Throttle:
    """Counts wrong guesses.

    Args:
        steady: a clock that nobody sets, in seconds.
    """

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._by_peer: dict[str, _Guesses] = {}
        self._known: dict[str, None] = {}
        self._total = _Guesses()

    def wait(self, address: str) -> float:
        """Return how many seconds an address has to wait before it may guess; 0.0 for none."""
        now, peer = self._steady(), neighbourhood(address)
        own = self._due(self._by_peer.get(peer), now)
        if self.knows(address):
            return own
        crowded = now - self._total.last < FORGOTTEN and self._total.wrong >= FREE_IN_TOTAL
        return max(own, self._total.last + SPACING - now if crowded else 0.0)

    def knows(self, address: str) -> bool:
        """Whether an address is this machine's, or one from which the administrator has signed in."""
        return is_loopback(address) or neighbourhood(address) in self._known

    def failed(self, address: str) -> None:
        """Count a wrong guess."""
        now, peer = self._steady(), neighbourhood(address)
        guesses = self._by_peer.pop(peer, None) or _Guesses()
        for each in (guesses, self._total):
            each.wrong = 1 if now - each.last >= FORGOTTEN else each.wrong + 1
            each.last = now
        self._by_peer[peer] = guesses
        if len(self._by_peer) > MOST:
            del self._by_peer[next(iter(self._by_peer))]

    def succeeded(self, address: str) -> None:
        """Forget the wrong guesses of an address, and know it from now on."""
        peer = neighbourhood(address)
        self._by_peer.pop(peer, None)
        self._known.pop(peer, None)
        self._known[peer] = None
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]

    @staticmethod
    def _due(guesses: _Guesses | None, now: float) -> float:
        if guesses is None or guesses.wrong < FREE or now - guesses.last >= FORGOTTEN:
            return 0.0
        # Bounded before it is raised to a power, so that no number of guesses makes this costly.
        pause = min(2.0 ** min(guesses.wrong - FREE, 10), LONGEST)
        return max(0.0, guesses.last + pause - now)
