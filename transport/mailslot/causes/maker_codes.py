"""``maker_codes.toml``: codes that devices show instead of a text."""

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
        code: the code, as the device shows it.
        cause: the cause that it stands for.
        source: where its meaning is documented.
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
        ValueError: a column is unknown or missing, a value has the wrong type, or a maker's code has two rows.
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
    """Return the codes in a shown text: those of a maker that it names, else those with a letter or a sign.

    Without the maker, a code of digits alone may be anything, such as a year or a port.
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
