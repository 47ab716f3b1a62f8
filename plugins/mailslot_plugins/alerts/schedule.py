"""When a scheduled mail is due: daily, weekly or monthly, at a local time.

An occurrence is identified by its local date and time, so that it comes once a day whatever the clock does: a time
that is skipped when summer time begins is due right after the gap, and of a time that comes twice the first counts.
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
"""The allowed forms, for people."""

LATE_AFTER: Final = 600.0
"""Seconds of delay after which a mail says that it is late."""

_SYNTAX: Final = re.compile(
    rf"(?:(?P<daily>daily)|weekly\s+(?P<weekday>{'|'.join(DAYS)})[a-z]*|monthly\s+(?P<day>last|0?[1-9]|[12]\d|3[01]))"
    r"\s+(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)"
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A recurring local time.

    Attributes:
        every: how often it recurs.
        day: 0 (Monday) to 6 if weekly; 1 to 31 if monthly, where shorter months use their last day.
        hour: 0 to 23.
        minute: 0 to 59.
    """

    every: Literal["daily", "weekly", "monthly"]
    day: int
    hour: int
    minute: int


@dataclass(frozen=True, slots=True)
class DueCheck:
    """Whether a mail is due now.

    Attributes:
        last: the latest occurrence, to be stored.
        due: whether its mail is due.
        late: whether it was some time ago, for example because the device was off.
        missed: the number of earlier occurrences that were missed too.
    """

    last: str
    due: bool = False
    late: bool = False
    missed: int = 0


def parse_schedule(text: str) -> Schedule:
    """Parse a schedule.

    Raises:
        ValueError: it is not one of the forms in `ALLOWED`.
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


def check_due(schedule: Schedule, last: str | None, now: float, zone: tzinfo | None) -> DueCheck:
    """Return whether a mail is due.

    Args:
        schedule: the schedule.
        last: the stored occurrence; None for a new schedule, which begins with its next occurrence. One in the future,
            after the clock was set back, counts as None.
        now: the time, in seconds since the epoch.
        zone: the time zone; None for the system's.

    Returns:
        the occurrence to store, and whether its mail is due. If several were missed, one mail is due.
    """
    occurrences = _past_occurrences(schedule, now, zone)
    latest = next(occurrences)
    name = _occurrence_name(latest)
    if last is None or last == name or is_in_future(last, now, zone):
        return DueCheck(name)
    missed = 0
    for missed, occurrence in enumerate(occurrences):
        if _occurrence_name(occurrence) <= last or missed == 366:
            break
    return DueCheck(name, due=True, late=now - latest.timestamp() > LATE_AFTER, missed=missed)


def is_in_future(last: str, now: float, zone: tzinfo | None) -> bool:
    """Return whether a stored occurrence is later than now, since the clock was ahead, or is behind."""
    try:
        return datetime.fromisoformat(last).replace(tzinfo=zone).timestamp() > now
    except (ValueError, OverflowError, OSError):
        return True


def _occurrence_name(occurrence: datetime) -> str:
    return occurrence.replace(tzinfo=None).isoformat(timespec="minutes")


def _past_occurrences(schedule: Schedule, now: float, zone: tzinfo | None) -> Iterator[datetime]:
    """Return the past occurrences, newest first."""
    day = datetime.fromtimestamp(now, zone).date() + timedelta(days=1)
    while True:
        if _is_day(schedule, day):
            # With fold=0, a time in a gap is read as after it, and an ambiguous time as the first (PEP 495).
            occurrence = datetime(day.year, day.month, day.day, schedule.hour, schedule.minute, tzinfo=zone)
            if occurrence.timestamp() <= now:
                yield occurrence
        day -= timedelta(days=1)


def _is_day(schedule: Schedule, day: date) -> bool:
    if schedule.every == "weekly":
        return day.weekday() == schedule.day
    if schedule.every == "monthly":
        return day.day == min(schedule.day, monthrange(day.year, day.month)[1])
    return True
