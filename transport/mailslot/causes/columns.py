"""Check the values of the tables' columns. The tables are part of the package, so anything wrong is our own error."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_TERM: Final = re.compile(r"(?<!\?P)(?<!\(\?)<(\w+)>")


def text(value: object) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is no text")
    return value


def texts(value: object) -> tuple[str, ...]:
    """Return the texts of a list that is not empty; a single text counts as a list."""
    if isinstance(value, str):
        return (text(value),)
    if not isinstance(value, list) or not value:
        raise TypeError(f"{value!r} is no list")
    return tuple(text(each) for each in cast("list[object]", value))


def choices(value: object, allowed: Collection[str]) -> tuple[str, ...]:
    """Return the texts of a list, if all of them are allowed; a single text counts as a list."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise TypeError(f"{value!r} is no list")
    found = tuple(cast("list[object]", value))
    if not set(found) <= set(allowed):
        raise ValueError(f"{found} is not among {sorted(allowed)}")
    return cast("tuple[str, ...]", found)


def pattern(value: object, terms: Mapping[str, str] | None = None) -> re.Pattern[str]:
    """Return a regular expression that ignores case; a list matches any of its members, ``""`` only the empty text.

    Args:
        value: the column.
        terms: the expressions that a ``<name>`` in it stands for.
    """
    if value == "":
        return re.compile("")
    named = terms or {}
    filled = [_TERM.sub(lambda match: named[match[1]], each) for each in texts(value)]
    return re.compile("|".join(f"(?:{each})" for each in filled), re.IGNORECASE)


def check_columns(row: Mapping[str, object], known: Collection[str]) -> None:
    """Raise ValueError for a row with unknown columns."""
    if not set(row) <= set(known):
        raise ValueError(f"columns {sorted(set(row) - set(known))}")
