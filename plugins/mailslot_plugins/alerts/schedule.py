"""When a regular mail is due: daily, weekly or monthly, at an hour of the wall clock.

A moment is named by its local date and hour, so that it comes once a day whatever the clock does: an hour that is left
out when summer time begins is taken at once after the gap, and of an hour that comes twice the first is taken.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

ALLOWED: Final = "daily 08:00, weekly mon 08:00, monthly 1 08:00 or monthly last 08:00"
"""What can be written, for people."""

PUNCTUAL: Final = 600.0
"""How late a mail may be, in seconds, before it says that it is late."""

_SYNTAX: Final = re.compile(
    rf"(?:(?P<daily>daily)|weekly\s+(?P<weekday>{'|'.join(DAYS)})[a-z]*|monthly\s+(?P<day>last|0?[1-9]|[12]\d|3[01]))"
    r"\s+(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)"
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A regular moment of the wall clock.

    Attributes:
        every: how often.
        day: 0 (Monday) to 6 of a weekly one; 1 to 31 of a monthly one, where a month without that day has it on its
            last.
        hour: 0 to 23.
        minute: 0 to 59.
    """

    every: Literal["daily", "weekly", "monthly"]
    day: int
    hour: int
    minute: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What a schedule says now.

    Attributes:
        last: the name of the moment to remember.
        due: whether a mail is due for it.
        late: whether the moment has long passed, as when the device was off.
        missed: how many moments before it were missed as well.
    """

    last: str
    due: bool = False
    late: bool = False
    missed: int = 0


def parse_schedule(text: str) -> Schedule:
    """Return the schedule that a text means.

    Raises:
        ValueError: it means none; `ALLOWED` says what would.
    """
    found = _SYNTAX.fullmatch(" ".join(text.lower().split()))
    if found is None:
        raise ValueError(ALLOWED)
    hour, minute = int(found["hour"]), int(found["minute"])
    if found["daily"]:
        return Schedule("daily", 0, hour, minute)
    if found["weekday"]:
        return Schedule("weekly", DAYS.index(found["weekday"]), hour, minute)
    return Schedule("monthly", 31 if found["day"] == "last" else int(found["day"]), hour, minute)


def turn(schedule: Schedule, last: str | None, now: float, zone: tzinfo | None) -> Turn:
    """Say whether a mail is due.

    Args:
        schedule: when it is to be sent.
        last: the moment that was remembered last; None before the first, which begins with the next moment. One
            that lies in the future, since the clock was set back, counts as none.
        now: the time, in seconds since the epoch.
        zone: the zone of the wall clock; None for the system's.

    Returns:
        the moment to remember, and whether its mail is due. Of several that were missed, one mail is due.
    """
    passed = _passed(schedule, now, zone)
    latest = next(passed)
    name = _name(latest)
    if last is None or last == name or _too_new(last, now, zone):
        return Turn(name)
    missed = 0
    for missed, moment in enumerate(passed):
        if _name(moment) <= last or missed == 366:
            break
    return Turn(name, due=True, late=now - latest.timestamp() > PUNCTUAL, missed=missed)


def _too_new(last: str, now: float, zone: tzinfo | None) -> bool:
    try:
        return datetime.fromisoformat(last).replace(tzinfo=zone).timestamp() > now
    except (ValueError, OverflowError, OSError):
        return True


def _name(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="minutes")


def _passed(schedule: Schedule, now: float, zone: tzinfo | None) -> Iterator[datetime]:
    """Give the moments that have passed, the newest first."""
    day = datetime.fromtimestamp(now, zone).date() + timedelta(days=1)
    while True:
        if _is_day(schedule, day):
            # In a gap, the first of the two readings is after it; of two such hours it is the first (PEP 495).
            moment = datetime(day.year, day.month, day.day, schedule.hour, schedule.minute, tzinfo=zone)
            if moment.timestamp() <= now:
                yield moment
        day -= timedelta(days=1)


def _is_day(schedule: Schedule, day: date) -> bool:
    if schedule.every == "weekly":
        return day.weekday() == schedule.day
    if schedule.every == "monthly":
        return day.day == min(schedule.day, monthrange(day.year, day.month)[1])
    return True
