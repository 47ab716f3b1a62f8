"""Delayed sending: until a time of day, or for a duration."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from mailslot.errors import InputError

MAX_DELAY: Final = 7 * 86_400.0
"""Seconds; a longer delay would be forgotten by the person who sent the mail."""

_TIME: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])", re.ASCII)
_SECONDS: Final = {"m": 60.0, "h": 3_600.0, "d": 86_400.0}


def parse_delay(value: object) -> str:
    """Parse a time of day, such as ``22:00``, or a duration, such as ``90m``, ``2h`` or ``1d``.

    Raises:
        InputError: it is neither, or the duration is longer than a week.
    """
    text = value.strip().lower() if isinstance(value, str) else ""
    span = _SPAN.fullmatch(text)
    if span is not None and int(span[1]) * _SECONDS[span[2]] <= MAX_DELAY:
        return text
    if time := _TIME.fullmatch(text):
        return f"{int(time[1]):02}:{time[2]}"
    raise InputError(
        f"{str(value)[:40]!r} is not a delay: it must be a time such as 22:00, or a span such as 90m, 2h or 1d, of at "
        "most 7 days.",
        stage="envelope",
        key="delay",
    )


def end_of_delay(delay: str, now: float) -> float:
    """Return when a delay from `parse_delay` ends, in seconds since 1970; a time of day is local."""
    if span := _SPAN.fullmatch(delay):
        return now + int(span[1]) * _SECONDS[span[2]]
    today = datetime.fromtimestamp(now)  # noqa: DTZ006 - a time of day is the local one, also across a change of it
    hour, minute = map(int, delay.split(":"))
    end = today.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (end if end > today else end + timedelta(days=1)).timestamp()
