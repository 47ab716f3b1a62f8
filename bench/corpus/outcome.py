"""What became of one file of a collection."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """What became of one file.

    Attributes:
        label: one of a few words, to be counted: what the product does with it.
        note: why, or what is odd about it; empty where nothing is.
    """

    label: str
    note: str
