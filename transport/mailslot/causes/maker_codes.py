"""``maker_codes.toml``: codes that devices show in place of words."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from mailslot.causes.columns import check_columns, text, texts


@dataclass(frozen=True, slots=True)
class MakerCode:
    """One code of one maker.

    Attributes:
        maker: the maker of the device or program.
        code: as it is shown.
        cause: what it means.
        source: where that can be read.
    """

    maker: str
    code: str
    cause: str
    source: str


@cache
def maker_codes() -> tuple[MakerCode, ...]:
    """Return the codes of the file that comes with this package."""
    return parse_maker_codes(files("mailslot.causes").joinpath("maker_codes.toml").read_text("utf-8"))


def parse_maker_codes(written: str) -> tuple[MakerCode, ...]:
    """Return the codes in a file's text.

    Raises:
        ValueError: a column is not known or missing, or a value is of the wrong type; or a maker's code has two rows.
    """
    found: dict[tuple[str, str], MakerCode] = {}
    try:
        for row in tomllib.loads(written)["code"]:
            check_columns(row, {"maker", "codes", "cause", "source"})
            for code in texts(row["codes"]):
                known = MakerCode(text(row["maker"]), code, text(row["cause"]), text(row["source"]))
                if found.setdefault((known.maker, code), known) is not known:
                    raise ValueError(f"{known.maker} {code} has two rows")
    except (KeyError, TypeError) as error:
        raise ValueError(repr(error)) from error
    return tuple(found.values())


def find_maker_codes(shown: str) -> list[MakerCode]:
    """Return the codes in what is shown: those of a maker that is named, else those with a letter or a sign in them.

    A code of digits alone is another maker's number for something else, a year or a port.
    """
    words = " ".join(shown.split())
    present = [each for each in maker_codes() if _contains(words, each.code)]
    named = [each for each in present if _contains(words, each.maker)]
    return named or [each for each in present if not each.code.isdecimal()]


def makers_of(code: str) -> list[str]:
    """Return the makers that have this code."""
    return sorted({each.maker for each in maker_codes() if each.code.casefold() == code.strip().casefold()})


def _contains(words: str, part: str) -> bool:
    return re.search(rf"(?<![\w#.]){re.escape(part)}(?![\w#])", words, re.IGNORECASE) is not None
