"""When a job that waits is tried again: one row for each pipeline (RFC 5321 section 4.5.4.1)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0

JITTER: Final = 0.2
"""The part of a pause by which it is made shorter or longer, so that what failed together is not tried together."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long a job of a pipeline waits.

    Attributes:
        pauses: seconds before the second attempt, the third and so on; the last one again and again.
        doubt: seconds after which a job in doubt is submitted once more, the same octets with the same Message-ID, so
            that it may arrive twice, and says so; None for never, so that it may not arrive.
    """

    pauses: tuple[float, ...]
    doubt: float | None

    def pause(self, attempts: int, chance: Callable[[], float] = random.random) -> float:
        """Return the seconds before the next attempt.

        Args:
            attempts: how many there were, from 1.
            chance: gives a number from 0 to 1.
        """
        pause = self.pauses[min(max(attempts, 1), len(self.pauses)) - 1]
        return pause * (1 + JITTER * (2 * chance() - 1))


_DOUBT: Final = 10 * _MINUTE

# Somebody stands at the device and waits: quick at first, then as a relay does.
_PATIENT: Final = (30.0, 2 * _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR)

SCHEDULES: Final[Mapping[str, Schedule]] = {
    "scan": Schedule(_PATIENT, doubt=_DOUBT),
    "fax": Schedule(_PATIENT, doubt=_DOUBT),
    # Nobody stands and waits for these. One that does not arrive is worse than one that arrives twice: an alarm that
    # nobody hears of, an answer that the asker takes for a device that is off. It is one mail, handed over twice with
    # one Message-ID (RFC 5322 section 3.6.4), and no second answer to a request, which is still handled once.
    "alerts": Schedule((_MINUTE, *_PATIENT[1:]), doubt=_DOUBT),
    "status": Schedule((_MINUTE, *_PATIENT[1:]), doubt=_DOUBT),
    "print": Schedule((_MINUTE, *_PATIENT[1:]), doubt=_DOUBT),
}

OTHERS: Final = Schedule(_PATIENT, doubt=None)
"""For a pipeline that a plugin brings, of which nobody here knows whether twice is worse than not at all."""


def schedule_of(pipeline: str) -> Schedule:
    """Return the schedule of a pipeline's jobs."""
    return SCHEDULES.get(pipeline, OTHERS)
