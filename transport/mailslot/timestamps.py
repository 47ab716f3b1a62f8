"""Moments as they are written down: for machines, and for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload


@overload
def iso(moment: float) -> str: ...
@overload
def iso(moment: float | None) -> str | None: ...
def iso(moment: float | None) -> str | None:
    """Return seconds since the epoch in ISO 8601, in UTC; None stays None."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def local(moment: float | None) -> str:
    """Return seconds since the epoch as the wall clock shows them here; empty for None."""
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def short(moment: float | None) -> str:
    """Return the same without year and seconds, for a column of a table; empty for None."""
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).astimezone().strftime("%m-%d %H:%M")
