"""Supplies and counters of an IPP printer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailslot_plugins.printers.ipp.codec import Value

SUPPLY_ATTRIBUTES: Final = (
    *("printer-supply", "printer-supply-description"),
    *("marker-names", "marker-levels", "marker-low-levels", "marker-types"),
)

COUNTERS: Final[Mapping[str, str]] = {
    "printer-impressions-completed": "Print Count",
    "printer-media-sheets-completed": "Sheet Count",
    "printer-pages-completed": "Page Count",
}
"""The counter attributes, with the names that office devices use."""

LOW_PERCENT: Final = 10
"""Percent below which a supply is low."""

_MAX_SUPPLIES: Final = 32


@dataclass(frozen=True, slots=True)
class Supply:
    """A supply that is used up, or a container that fills.

    Attributes:
        name: its name, from the printer.
        level: the percentage that is left or, for a container, filled; None if unknown.
        low: whether it is nearly used up or, for a container, nearly full.
        fills: whether it is a container that fills, for example with waste toner.
    """

    name: str
    level: int | None
    low: bool
    fills: bool


def supplies(attributes: Mapping[str, tuple[Value, ...]]) -> tuple[Supply, ...]:
    """Return a printer's supplies, from ``printer-supply`` (PWG 5100.13), else from the ``marker-`` attributes."""
    found = tuple(_from_supply(attributes)) or tuple(_from_markers(attributes))
    return found[:_MAX_SUPPLIES]


def counters(attributes: Mapping[str, tuple[Value, ...]]) -> dict[str, int]:
    """Return a printer's counters, by the names that office devices use."""
    found: dict[str, int] = {}
    for attribute, name in COUNTERS.items():
        for value in attributes.get(attribute, ())[:1]:
            if isinstance(value, int):
                found[name] = value
    return found


def _from_supply(attributes: Mapping[str, tuple[Value, ...]]) -> Iterator[Supply]:
    descriptions = attributes.get("printer-supply-description", ())
    for number, value in enumerate(attributes.get("printer-supply", ())):
        text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        fields = {key: value_text for key, _, value_text in (field.partition("=") for field in text.split(";"))}
        name = str(descriptions[number]) if number < len(descriptions) else ""
        name = name or fields.get("colorantname") or fields.get("type") or f"supply {number + 1}"
        yield _supply(
            name,
            _percent(_number(fields.get("level")), _number(fields.get("maxcapacity"))),
            fills=fields.get("class", "").casefold() == "receptaclethatisfilled",
        )


def _from_markers(attributes: Mapping[str, tuple[Value, ...]]) -> Iterator[Supply]:
    levels, types = attributes.get("marker-levels", ()), attributes.get("marker-types", ())
    for number, name in enumerate(attributes.get("marker-names", ())):
        level = levels[number] if number < len(levels) else None
        fills = number < len(types) and str(types[number]).startswith("waste-")
        yield _supply(str(name), _percent(level if isinstance(level, int) else None, 100), fills=fills)


def _supply(name: str, level: int | None, *, fills: bool) -> Supply:
    low = level is not None and (level > 100 - LOW_PERCENT if fills else level < LOW_PERCENT)
    return Supply(name, level, low, fills)


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text[:12])
    except ValueError:
        return None


def _percent(level: int | None, maximum: int | None) -> int | None:
    """Return a level in percent; None if it is negative, which means unknown (RFC 3805, prtMarkerSuppliesLevel)."""
    if level is None or level < 0:
        return None
    return round(100 * level / maximum) if maximum is not None and maximum > 0 else min(level, 100)
