"""The last tests of a slot as a small picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot_plugins.panel.connection_test.outcome import Outcome

MOST: Final = 30
"""Tests in a picture."""

_STEP: Final = 10
"""The picture's units from one bar to the next."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One test in the picture.

    Attributes:
        x: where its bar begins.
        outcome: the test.
    """

    x: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Picture:
    """The last tests, the newest on the right.

    Attributes:
        bars: one for each.
        width: of all of them.
        passed: how many passed.
        failed: how many did not.
    """

    bars: tuple[Bar, ...]
    width: int
    passed: int
    failed: int


def picture(outcomes: Sequence[Outcome]) -> Picture:
    """Return the picture of tests.

    Args:
        outcomes: the newest first.
    """
    shown = outcomes[:MOST]
    passed = sum(each.ok for each in shown)
    bars = tuple(Bar(place * _STEP, each) for place, each in enumerate(reversed(shown)))
    return Picture(bars, len(bars) * _STEP, passed, len(shown) - passed)
