"""Values of the tables' columns, checked: whatever is wrong in them is a fault of ours, and an error."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

_TERM: Final = re.compile(r"(?<!\?P)(?<!\(\?)<(\w+)>")


class Pattern:
    """A regular expression in any case, compiled when it is first asked: most rows are never asked.

    Attributes:
        pattern: as it is written.
    """

    __slots__ = ("_compiled", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern: Final = pattern
        self._compiled: re.Pattern[str] | None = None

    def compiled(self) -> re.Pattern[str]:
        """Return the expression.

        Raises:
            re.error: it is none.
        """
        if self._compiled is None:
            self._compiled = re.compile(self.pattern, re.IGNORECASE)
        return self._compiled

    def search(self, words: str) -> re.Match[str] | None:
        """Return where it is found in `words`."""
        return self.compiled().search(words)

    def fullmatch(self, words: str) -> re.Match[str] | None:
        """Return the match where it fits all of `words`."""
        return self.compiled().fullmatch(words)


def text(value: object) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is no text")
    return value


def texts(value: object) -> tuple[str, ...]:
    """Return the texts in a list that is not empty; a text stands for a list of one."""
    if isinstance(value, str):
        return (text(value),)
    if not isinstance(value, list) or not value:
        raise TypeError(f"{value!r} is no list")
    return tuple(text(each) for each in cast("list[object]", value))


def among(value: object, allowed: Collection[str]) -> tuple[str, ...]:
    """Return the texts in a list, all of which are among those `allowed`; a text stands for a list of one."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise TypeError(f"{value!r} is no list")
    found = tuple(cast("list[object]", value))
    if not set(found) <= set(allowed):
        raise ValueError(f"{found} is not among {sorted(allowed)}")
    return cast("tuple[str, ...]", found)


def pattern(value: object, terms: Mapping[str, str] | None = None) -> Pattern:
    """Return a regular expression, in any case; of a list, one for any of its members. ``""`` fits only nothing.

    Args:
        value: the column.
        terms: what a ``<name>`` in it stands for.
    """
    if value == "":
        return Pattern("")
    named = terms or {}
    filled = [_TERM.sub(lambda match: named[match[1]], each) for each in texts(value)]
    return Pattern("|".join(f"(?:{each})" for each in filled))


def check(patterns: Iterable[Pattern | None]) -> None:
    """Refuse what is no regular expression.

    Raises:
        re.error: one of them is none.
    """
    for each in patterns:
        if each is not None:
            each.compiled()


def only(row: Mapping[str, object], known: Collection[str]) -> None:
    """Refuse a row with columns that are not known."""
    if not set(row) <= set(known):
        raise ValueError(f"columns {sorted(set(row) - set(known))}")
