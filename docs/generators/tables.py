"""Markdown tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_SPECIAL: Final = re.compile(r"[^\w\s.,;:/()=%@'\u00a0-\uffff-]|_")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; empty if it has no rows.

    Args:
        headings: one for each column; all of them may be empty.
        rows: cells in Markdown, as many as there are headings.
    """
    lines = [_line(row) for row in rows]
    return "\n".join([_line(headings), _line(["---"] * len(headings)), *lines, ""]) if lines else ""


def code(text: str) -> str:
    """Return a text as code; empty if it is empty."""
    return f"`{text}`" if text else ""


def quoted(text: str) -> str:
    """Return somebody else's text so that nothing in it is taken for Markdown or HTML."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", text)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
