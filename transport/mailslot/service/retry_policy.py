"""Retry policies: when a pipeline's waiting jobs are tried again (RFC 5321 section 4.5.4.1)."""

from __future__ import annotations

import random as randomness
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0

JITTER: Final = 0.2
"""The fraction by which a delay is randomly shortened or lengthened, so that jobs that failed together are spread
out."""

ATTENDED: Final = (30.0, 2 * _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR)
"""Delays for jobs of a person who waits at the device: short at first, then as long as a relay's."""

UNATTENDED: Final = (_MINUTE, *ATTENDED[1:])
"""Delays for jobs for which nobody waits."""

RESUBMIT_AFTER: Final = 10 * _MINUTE
"""Seconds in doubt after which our own pipelines submit a message once more."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When the jobs of a pipeline are tried again.

    Attributes:
        delays: seconds before the second attempt, the third and so on; the last one is repeated.
        resubmit_after: seconds after which a job in doubt is submitted once more, unchanged and with the same
            Message-ID. It may then arrive twice, and the job says so. None to never do that, so that it may not arrive
            at all.

    Raises:
        ValueError: there is no delay, or one is not greater than 0.
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
            attempts: the number of attempts so far, from 1.
            random: returns a number from 0 to 1.
        """
        delay = self.delays[min(max(attempts, 1), len(self.delays)) - 1]
        return delay * (1 + JITTER * (2 * random() - 1))


DEFAULT: Final = RetryPolicy()
"""For jobs of a pipeline without a policy. They are not resubmitted when in doubt, since a duplicate may be worse than
a loss."""
