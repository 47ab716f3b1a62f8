"""How a mail wants to be printed: ``#print copies=2 sides=long`` at the end of its subject, or in its first lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mailslot_plugins.printers.printer import Color, Sides

NAMES: Final = ("copies", "sides", "media", "color")
"""What can be asked for."""

_MARK: Final = re.compile(r"(?:^|\s)#print\b(.*)$", re.IGNORECASE)
_MOST_LINES: Final = 5
_MOST_WORDS: Final = 12

_ALIASES: Final = {"duplex": "sides", "paper": "media", "colour": "color"}
_SIDES: Final[Mapping[str, Sides]] = {
    **dict.fromkeys(("one", "off", "simplex", "1", "one-sided"), "one-sided"),
    **dict.fromkeys(("long", "two", "on", "duplex", "2", "two-sided-long-edge"), "two-sided-long-edge"),
    **dict.fromkeys(("short", "tumble", "two-sided-short-edge"), "two-sided-short-edge"),
}
_COLORS: Final[Mapping[str, Color]] = {
    **dict.fromkeys(("color", "colour", "on", "yes"), "color"),
    **dict.fromkeys(("mono", "monochrome", "black", "grey", "gray", "off", "no"), "monochrome"),
}
_MEDIA: Final[Mapping[str, str]] = {
    "a3": "iso_a3_297x420mm",
    "a4": "iso_a4_210x297mm",
    "a5": "iso_a5_148x210mm",
    "letter": "na_letter_8.5x11in",
    "legal": "na_legal_8.5x14in",
    "ledger": "na_ledger_11x17in",
}


@dataclass(frozen=True, slots=True)
class PrintOptions:
    """How a mail wants to be printed.

    Attributes:
        copies: how often.
        sides, media, color: as `Document` has them; None for the printer's default.
        text: the mail's text without the lines that say so.
        ignored: what was asked for and is not done, a sentence each.
    """

    copies: int = 1
    sides: Sides | None = None
    media: str | None = None
    color: Color | None = None
    text: str = ""
    ignored: tuple[str, ...] = ()


def parse_print_options(subject: str, text: str, allowed: Collection[str], most_copies: int) -> PrintOptions:
    """Return what a mail asks for; never fails.

    Args:
        subject: its subject, decoded.
        text: its text.
        allowed: the names of what a mail may set.
        most_copies: the most copies.
    """
    words: list[str] = []
    if found := _MARK.search(subject):
        words += found[1].split()
    kept: list[str] = []
    looked_at = 0
    for line in text.split("\n"):
        said = _MARK.match(line.strip()) if looked_at < _MOST_LINES else None
        looked_at += bool(line.strip())
        if said is None:
            kept.append(line)
        else:
            words += said[1].split()
    values: dict[str, Any] = {}
    ignored: list[str] = [f"Only {_MOST_WORDS} options are read."] if len(words) > _MOST_WORDS else []
    for word in words[:_MOST_WORDS]:
        name, _, value = word.casefold().partition("=")
        name = _ALIASES.get(name, name)
        parsed = _PARSERS[name](value) if name in _PARSERS else None
        if name in _PARSERS and name not in allowed:
            ignored.append(f"The option {name} is not allowed.")
        elif parsed is None:
            ignored.append(f"The option {_shown(word)} is not known.")
        elif name == "copies" and parsed > most_copies:
            ignored.append(f"At most {most_copies} copies are made.")
            values[name] = most_copies
        else:
            values[name] = parsed
    return PrintOptions(**values, text="\n".join(kept), ignored=tuple(dict.fromkeys(ignored)))


def _copies(value: str) -> int | None:
    return int(value) if re.fullmatch(r"[1-9][0-9]{0,5}", value, re.ASCII) else None


def _shown(word: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in word[:40])


_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "copies": _copies,
    "sides": _SIDES.get,
    "media": _MEDIA.get,
    "color": _COLORS.get,
}
