"""``shown.toml``: messages of clients, logs and panels, in their own words."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from mailslot.causes.columns import Pattern, Words, check_columns, pattern, text
from mailslot.causes.words import MAX_TEXT, normalize


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A row: a pattern for the message, its cause, and its source."""

    says: Pattern
    cause: str
    source: str


@cache
def shown_rows() -> tuple[ShownMessage, ...]:
    """Return the rows of the file that comes with this package."""
    return parse_shown(files("mailslot.causes").joinpath("shown.toml").read_text("utf-8"), checked=True)


def parse_shown(written: str, *, checked: bool = False) -> tuple[ShownMessage, ...]:
    """Return the rows in a file's text.

    Args:
        written: the text.
        checked: its regular expressions are known to be valid, so each is compiled only when it is first used.

    Raises:
        ValueError: a column is unknown or missing, or a value has the wrong type.
    """
    try:
        written_rows = tomllib.loads(written)
        check_columns(written_rows, {"terms", "shown"})
        terms = {name: f"(?:{text(value)})" for name, value in written_rows.get("terms", {}).items()}
        rows = written_rows["shown"]
        for row in rows:
            check_columns(row, {"says", "cause", "source"})
        found = tuple(
            ShownMessage(pattern(row["says"], terms), text(row["cause"]), text(row["source"])) for row in rows
        )
        if not checked:
            for row in found:
                row.says.check()
    except (KeyError, TypeError, re.error) as error:
        raise ValueError(repr(error)) from error
    return found


def find_shown(words: str) -> ShownMessage | None:
    """Return the first row whose pattern is found in a shown text, as it is or normalized; None without one."""
    shown = " ".join(words[:MAX_TEXT].split())
    both = Words(shown), Words(normalize(shown))
    return next((row for row in shown_rows() if any(map(row.says.found_in, both))), None)
