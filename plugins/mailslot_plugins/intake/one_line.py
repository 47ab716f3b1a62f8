"""Text from elsewhere, such as a printer or a person, made fit for a line of a mail or a terminal."""

from __future__ import annotations

import unicodedata
from typing import Final

# Besides control characters: line separators, halves of surrogate pairs, what is not assigned, and the marks that
# turn the direction of writing.
_UNFIT: Final = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})


def one_line(text: str, most: int) -> str:
    """Return text as one line of printable characters, cut to `most` of them."""
    plain = "".join(" " if unicodedata.category(letter) in _UNFIT else letter for letter in text[: 4 * most])
    plain = " ".join(plain.split())
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def cut(text: str, octets: int) -> str:
    """Return a text's beginning that has at most so many octets in UTF-8."""
    return text.encode()[:octets].decode("utf-8", "ignore")
