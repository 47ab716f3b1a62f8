"""Retry policies: when a waiting job is tried again; each pipeline brings one (RFC 5321 section 4.5.4.1)."""

from __future__ import annotations

import random as randomness
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0

JITTER: Final = 0.2
"""The part of a delay by which it is made shorter or longer, so that what failed together is not tried together."""

ATTENDED: Final = (30.0, 2 * _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR)
"""Delays where somebody stands at the device and waits: quick at first, then as a relay does."""

UNATTENDED: Final = (_MINUTE, *ATTENDED[1:])
"""Delays where nobody waits at the device."""

RESUBMIT_AFTER: Final = 10 * _MINUTE
"""Seconds of doubt after which our own pipelines submit a message once more."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long the jobs of a pipeline wait for their next attempt.

    Attributes:
        delays: seconds before the second attempt, the third and so on; the last one again and again.
        resubmit_after: seconds after which a job in doubt is submitted once more, the same octets with the same
            Message-ID, so that it may arrive twice, and says so; None for never, so that it may not arrive.

    Raises:
        ValueError: there is no delay, or one is not above 0.
    """

    delays: tuple[float, ...] = ATTENDED
    resubmit_after: float | None = None

    def __post_init__(self) -> None:
        waits = self.delays if self.resubmit_after is None else (*self.delays, self.resubmit_after)
        if not self.delays or not all(wait > 0 for wait in waits):
            raise ValueError("A retry policy needs delays, each above 0.")

    def delay(self, attempts: int, random: Callable[[], float] = randomness.random) -> float:
        """Return the seconds before the next attempt.

        Args:
            attempts: how many there were, from 1.
            random: gives a number from 0 to 1.
        """
        delay = self.delays[min(max(attempts, 1), len(self.delays)) - 1]
        return delay * (1 + JITTER * (2 * random() - 1))


DEFAULT: Final = RetryPolicy()
"""For jobs of a pipeline that brings none: nobody knows whether twice is worse there than not at all."""
