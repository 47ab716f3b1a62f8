"""``shown.toml``: messages of clients, logs and panels, in their own words."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from mailslot.causes.columns import check_columns, pattern, text


@dataclass(frozen=True, slots=True)
class Shown:
    """A row: a pattern for the message, its cause, and its source."""

    says: re.Pattern[str]
    cause: str
    source: str


@cache
def shown_rows() -> tuple[Shown, ...]:
    """Return the rows of the package's file."""
    return parse_shown(files("mailslot.causes").joinpath("shown.toml").read_text("utf-8"))


def parse_shown(source: str) -> tuple[Shown, ...]:
    """Return the rows in a file's text.

    Raises:
        ValueError: a column is unknown or missing, or a value has the wrong type.
    """
    try:
        rows = tomllib.loads(source)["shown"]
        for row in rows:
            check_columns(row, {"says", "cause", "source"})
        return tuple(Shown(pattern(row["says"]), text(row["cause"]), text(row["source"])) for row in rows)
    except (KeyError, TypeError, re.error) as error:
        raise ValueError(repr(error)) from error


def find_shown(words: str) -> Shown | None:
    """Return the first row that matches a message."""
    return next((row for row in shown_rows() if row.says.search(words)), None)
