"""Makes untrusted text safe for one line of a mail or a terminal."""

from __future__ import annotations

import unicodedata
from typing import Final

# Control and format characters (bidirectional marks among them), surrogates, unassigned characters, line separators.
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})


def one_line(text: str, max_length: int) -> str:
    """Return text as one line of at most `max_length` printable characters."""
    plain = "".join(
        " " if unicodedata.category(character) in _UNPRINTABLE else character for character in text[: 4 * max_length]
    )
    plain = " ".join(plain.split())
    return plain if len(plain) <= max_length else plain[: max_length - 1] + "…"


def cut_to_octets(text: str, max_octets: int) -> str:
    """Return the beginning of a text that has at most so many octets in UTF-8."""
    return text.encode()[:max_octets].decode("utf-8", "ignore")
