"""Timestamps as text, for machines and for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, overload

EARLIEST: Final = 1_767_225_600.0
"""2026-01-01 in seconds since the epoch: this software is newer, so a clock that shows an earlier time is wrong."""


@overload
def iso(timestamp: float) -> str: ...
@overload
def iso(timestamp: float | None) -> str | None: ...
def iso(timestamp: float | None) -> str | None:
    """Return seconds since the epoch in ISO 8601, in UTC; None stays None."""
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds")


def local_time(timestamp: float | None) -> str:
    """Return seconds since the epoch in local time; empty for None."""
    return _format(timestamp, "%Y-%m-%d %H:%M:%S")


def short_local_time(timestamp: float | None) -> str:
    """Return `local_time` without year and seconds, for a column of a table."""
    return _format(timestamp, "%m-%d %H:%M")


def day(timestamp: float) -> str:
    """Return the day of a timestamp in UTC, such as ``2026-03-31``."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")


def _format(timestamp: float | None, pattern: str) -> str:
    return "" if timestamp is None else datetime.fromtimestamp(timestamp, UTC).astimezone().strftime(pattern)
