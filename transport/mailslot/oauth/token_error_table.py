"""``token_errors.toml``: the meanings of a token service's refusals. It is read once, at the first refusal."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from mailslot.causes.columns import Pattern, check_columns, pattern, text, texts

if TYPE_CHECKING:
    from collections.abc import Mapping


class Remedy(Enum):
    """What helps against an error."""

    NEW_GRANT = "gone"
    """Only a new grant."""
    CONFIGURATION = "configuration"
    """Only a change of settings, here or at the provider. The grant is kept."""
    WAIT = "passing"
    """Waiting. The grant is kept."""
    UNKNOWN = "unknown"
    """Unknown; treated as `CONFIGURATION`."""


class ErrorMeaning(NamedTuple):
    """The meaning of an error, from a row of the tables."""

    cause: str
    remedy: Remedy
    source: str


@dataclass(frozen=True, slots=True)
class Description:
    """A row about ``error_description``; see the file.

    Attributes:
        words: the pattern to find in the description after `mailslot.causes.words.normalize`.
        meaning: the meaning if it is found.
        errors: the values of ``error`` to which it applies; empty for any.
        grants: the grant types to which it applies; empty for any.
        codes: whether it takes precedence over an AADSTS code.
    """

    words: Pattern
    meaning: ErrorMeaning
    errors: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    codes: bool = False


class ErrorTable(NamedTuple):
    """All rows."""

    errors: Mapping[str, ErrorMeaning]
    aadsts: Mapping[int, ErrorMeaning]
    descriptions: tuple[Description, ...]


@cache
def error_table() -> ErrorTable:
    """Return the rows of this package's file."""
    return parse_error_table(files("mailslot.oauth").joinpath("token_errors.toml").read_text("utf-8"), checked=True)


def parse_error_table(content: str, *, checked: bool = False) -> ErrorTable:
    """Return the rows in a file's text.

    Args:
        content: the file's text.
        checked: whether its regular expressions are known to be valid, so that each is compiled only when it is first
            used.

    Raises:
        ValueError: a column is unknown or missing, a value has the wrong type, or a code has two rows.
    """
    found: dict[str, Any] = tomllib.loads(content)
    try:
        check_columns(found, {"error", "aadsts", "description"})
        errors = {name: _meaning(row, set()) for name, row in found.get("error", {}).items()}
        aadsts: dict[int, ErrorMeaning] = {}
        for row in found.get("aadsts", []):
            for code in row["codes"]:
                if aadsts.setdefault(int(code), meaning := _meaning(row, {"codes"})) is not meaning:
                    raise ValueError(f"AADSTS{code} has two rows")
        descriptions = tuple(_description(row) for row in found.get("description", []))
        if not checked:
            for row in descriptions:
                row.words.check()
    except (KeyError, TypeError, re.error) as error:
        raise ValueError(repr(error)) from error
    return ErrorTable(errors, aadsts, descriptions)


def _description(row: Mapping[str, Any]) -> Description:
    return Description(
        pattern(row["words"]),
        _meaning(row, {"words", "errors", "grants", "codes"}),
        texts(row["errors"]) if "errors" in row else (),
        texts(row["grants"]) if "grants" in row else (),
        bool(row.get("codes")),
    )


def _meaning(row: Mapping[str, Any], others: set[str]) -> ErrorMeaning:
    check_columns(row, {"cause", "remedy", "source", *others})
    return ErrorMeaning(text(row["cause"]), Remedy[text(row["remedy"]).upper()], text(row["source"]))
