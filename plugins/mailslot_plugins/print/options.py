"""Print options in a mail: ``#print copies=2 sides=long`` at the end of its subject, or in its first lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mailslot_plugins.printers.printer import Color, Sides

OPTION_NAMES: Final = ("copies", "sides", "media", "color")
"""The options that a mail can set."""

_PRINT_MARK: Final = re.compile(r"(?:^|\s)#print\b(.*)$", re.IGNORECASE)
_MAX_LINES: Final = 5
_MAX_WORDS: Final = 12

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
    """The options for printing a mail.

    Attributes:
        copies: the number of copies.
        sides, media, color: as in `Document`; None for the printer's default.
        text: the mail's text without the option lines.
        ignored: a sentence for each option that was not applied.
    """

    copies: int = 1
    sides: Sides | None = None
    media: str | None = None
    color: Color | None = None
    text: str = ""
    ignored: tuple[str, ...] = ()


def parse_print_options(subject: str, text: str, allowed: Collection[str], max_copies: int) -> PrintOptions:
    """Parse a mail's print options; never fails.

    Args:
        subject: its subject, decoded.
        text: its text.
        allowed: the names of the options that a mail may set.
        max_copies: the most copies.
    """
    words: list[str] = []
    if found := _PRINT_MARK.search(subject):
        words += found[1].split()
    kept: list[str] = []
    lines_read = 0
    for line in text.split("\n"):
        match = _PRINT_MARK.match(line.strip()) if lines_read < _MAX_LINES else None
        lines_read += bool(line.strip())
        if match is None:
            kept.append(line)
        else:
            words += match[1].split()
    values: dict[str, Any] = {}
    ignored: list[str] = [f"Only {_MAX_WORDS} options are read."] if len(words) > _MAX_WORDS else []
    for word in words[:_MAX_WORDS]:
        name, _, value = word.casefold().partition("=")
        name = _ALIASES.get(name, name)
        parsed = _PARSERS[name](value) if name in _PARSERS else None
        if name in _PARSERS and name not in allowed:
            ignored.append(f"The option {name} is not allowed.")
        elif parsed is None:
            ignored.append(f"The option {_printable(word)} is not known.")
        elif name == "copies" and parsed > max_copies:
            ignored.append(f"At most {max_copies} copies are made.")
            values[name] = max_copies
        else:
            values[name] = parsed
    return PrintOptions(**values, text="\n".join(kept), ignored=tuple(dict.fromkeys(ignored)))


def _copies(value: str) -> int | None:
    return int(value) if re.fullmatch(r"[1-9][0-9]{0,5}", value, re.ASCII) else None


def _printable(word: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in word[:40])


_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "copies": _copies,
    "sides": _SIDES.get,
    "media": _MEDIA.get,
    "color": _COLORS.get,
}
