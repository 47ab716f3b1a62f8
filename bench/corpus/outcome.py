"""The outcome for one file of a collection."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """The outcome for one file.

    Attributes:
        label: how the product handled it: one of a few words, which are counted.
        note: why, or what is odd about it; may be empty.
    """

    label: str
    note: str
