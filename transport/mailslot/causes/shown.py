"""``shown.toml``: what clients, logs and panels say in their own words."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from mailslot.causes.columns import only, pattern, text


@dataclass(frozen=True, slots=True)
class Shown:
    """A row: what is said, which cause that is, and where it is from."""

    says: re.Pattern[str]
    cause: str
    source: str


@cache
def shown_rows() -> tuple[Shown, ...]:
    """Return the rows of the file that comes with this package."""
    return parse_shown(files("mailslot.causes").joinpath("shown.toml").read_text("utf-8"))


def parse_shown(written: str) -> tuple[Shown, ...]:
    """Return the rows in a file's text.

    Raises:
        ValueError: a column is not known or missing, or a value is of the wrong type.
    """
    try:
        rows = tomllib.loads(written)["shown"]
        for row in rows:
            only(row, {"says", "cause", "source"})
        return tuple(Shown(pattern(row["says"]), text(row["cause"]), text(row["source"])) for row in rows)
    except (KeyError, TypeError, re.error) as error:
        raise ValueError(repr(error)) from error


def find_shown(words: str) -> Shown | None:
    """Return the first row that fits what is shown."""
    return next((row for row in shown_rows() if row.says.search(words)), None)
