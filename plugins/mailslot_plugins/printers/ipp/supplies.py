"""Supplies and counters, as an IPP printer tells them."""

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
"""Attributes that count, and what devices call them."""

LOW: Final = 10
"""Percent below which a supply is low, where the printer does not say."""

_MOST: Final = 32


@dataclass(frozen=True, slots=True)
class Supply:
    """Something that is used up, or a container that fills.

    Attributes:
        name: what the printer calls it.
        level: percent that are left or, of a container, taken; None where the printer does not know.
        low: whether it is nearly used up or, a container, nearly full.
        fills: whether it is a container that fills, such as that of waste toner.
    """

    name: str
    level: int | None
    low: bool
    fills: bool


def supplies(attributes: Mapping[str, tuple[Value, ...]]) -> tuple[Supply, ...]:
    """Return a printer's supplies, from ``printer-supply`` (PWG 5100.13), else from the ``marker-`` attributes."""
    found = tuple(_from_supply(attributes)) or tuple(_from_markers(attributes))
    return found[:_MOST]


def counters(attributes: Mapping[str, tuple[Value, ...]]) -> dict[str, int]:
    """Return a printer's counters, under the names that devices use."""
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
        fields = {key: said for key, _, said in (field.partition("=") for field in text.split(";"))}
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
    low = level is not None and (level > 100 - LOW if fills else level < LOW)
    return Supply(name, level, low, fills)


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text[:12])
    except ValueError:
        return None


def _percent(level: int | None, most: int | None) -> int | None:
    """Return a level in percent; negative ones mean that it is not known (RFC 3805, prtMarkerSuppliesLevel)."""
    if level is None or level < 0:
        return None
    return round(100 * level / most) if most is not None and most > 0 else min(level, 100)
