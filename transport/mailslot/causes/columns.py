"""Check the values of the tables' columns. The tables are part of the package, so anything wrong is our own error."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_TERM: Final = re.compile(r"(?<!\?P)(?<!\(\?)<(\w+)>")
_TERM_ALONE: Final = re.compile(r"\(\?:<(\w+)>\)(?![?*]|\{0)")
_NEEDED: Final = re.compile(r"<(\w+)>(?![?*]|\{0)")
_ESCAPED: Final = re.compile(r"\\.|\[\^?\]?[^\]]*\]")
_GROUP: Final = re.compile(r"\([^()]*\)")


class Words:
    """A text in which patterns are searched, with the results for the terms that were already searched.

    Attributes:
        text: the text.
    """

    __slots__ = ("_terms", "text")

    def __init__(self, text: str) -> None:
        self.text: Final = text
        self._terms: dict[str, bool] = {}

    def contain(self, term: str) -> bool:
        """Return whether a term, which is a regular expression, is found in the text."""
        found = self._terms.get(term)
        if found is None:
            found = self._terms[term] = _compiled(term).search(self.text) is not None
        return found


class Pattern:
    """A regular expression that ignores case, compiled when it is first needed: most are never needed.

    A member with terms is compiled and searched only if all its terms are found in the text.

    Attributes:
        pattern: the whole expression, with its terms filled in.
    """

    __slots__ = ("_compiled", "_members", "pattern")

    def __init__(self, members: Sequence[str], terms: Mapping[str, str] | None = None) -> None:
        named = terms or {}
        plain: list[str] = []
        with_terms: list[tuple[tuple[str, ...], str]] = []
        for member in members:
            needed = tuple(named[name] for name in _needed_terms(member))
            filled = _TERM.sub(lambda match: named[match[1]], member)
            if needed:
                with_terms.append((needed, filled))
            else:
                plain.append(filled)
        together = [((), "|".join(f"(?:{each})" for each in plain))] if plain else []
        self._members: Final[tuple[tuple[tuple[str, ...], str], ...]] = (*together, *with_terms)
        self._compiled: Final[dict[str, re.Pattern[str]]] = {}
        self.pattern: Final = "|".join(f"(?:{each})" for each in [*plain, *(filled for _, filled in with_terms)])

    def found_in(self, words: Words) -> bool:
        """Return whether it is found in a text."""
        return any(
            all(words.contain(term) for term in terms) and self._compile(member).search(words.text) is not None
            for terms, member in self._members
        )

    def fits(self, text: str) -> bool:
        """Return whether it matches the whole of a text."""
        return self._compile(self.pattern).fullmatch(text) is not None

    def check(self) -> None:
        """Check that it is a regular expression.

        Raises:
            re.error: it is not.
        """
        self._compile(self.pattern)

    def _compile(self, member: str) -> re.Pattern[str]:
        compiled = self._compiled.get(member)
        if compiled is None:
            compiled = self._compiled[member] = re.compile(member, re.IGNORECASE)
        return compiled


@cache
def _compiled(term: str) -> re.Pattern[str]:
    return re.compile(term, re.IGNORECASE)


def _needed_terms(member: str) -> tuple[str, ...]:
    """Return the terms that every match of a member contains: those outside of all groups but their own."""
    outside = _innermost_removed(member)
    return () if "|" in outside else tuple(dict.fromkeys(_NEEDED.findall(outside)))


def _innermost_removed(member: str) -> str:
    """Return a member without its groups; groups that contain a single term become ``<name>``."""
    member = _ESCAPED.sub("_", member)
    member = _TERM_ALONE.sub(r"<\1>", member)
    while True:
        shorter = _GROUP.sub("_", member)
        if shorter == member:
            return member
        member = shorter


def text(value: object) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is not a text")
    return value


def texts(value: object) -> tuple[str, ...]:
    """Return the texts of a list that is not empty; a single text counts as a list."""
    if isinstance(value, str):
        return (text(value),)
    if not isinstance(value, list) or not value:
        raise TypeError(f"{value!r} is not a list")
    return tuple(text(each) for each in cast("list[object]", value))


def choices(value: object, allowed: Collection[str]) -> tuple[str, ...]:
    """Return the texts of a list, if all of them are allowed; a single text counts as a list."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise TypeError(f"{value!r} is not a list")
    found = tuple(cast("list[object]", value))
    if not set(found) <= set(allowed):
        raise ValueError(f"{found} is not among {sorted(allowed)}")
    return cast("tuple[str, ...]", found)


def pattern(value: object, terms: Mapping[str, str] | None = None) -> Pattern:
    """Return the regular expression of a column; a list matches where any of its members does, ``""`` only nothing.

    Args:
        value: the column.
        terms: the expressions that a ``<name>`` in it stands for.
    """
    return Pattern([""] if value == "" else texts(value), terms)


def check_columns(row: Mapping[str, object], known: Collection[str]) -> None:
    """Raise ValueError for a row with unknown columns."""
    if not set(row) <= set(known):
        raise ValueError(f"columns {sorted(set(row) - set(known))}")
