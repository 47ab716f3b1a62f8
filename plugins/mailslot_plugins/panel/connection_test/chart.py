"""The last tests of a slot as a bar chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot_plugins.panel.connection_test.outcome import Outcome

MAX_BARS: Final = 30
"""Tests in a chart."""

_STEP: Final = 10
"""The chart's units from one bar to the next."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The bar of one test."""

    x: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Chart:
    """The last tests, the newest on the right."""

    bars: tuple[Bar, ...]
    width: int
    passed: int
    failed: int


def make_chart(outcomes: Sequence[Outcome]) -> Chart:
    """Return the chart of tests, which are passed newest first."""
    shown = outcomes[:MAX_BARS]
    passed = sum(each.ok for each in shown)
    bars = tuple(Bar(place * _STEP, each) for place, each in enumerate(reversed(shown)))
    return Chart(bars, len(bars) * _STEP, passed, len(shown) - passed)
