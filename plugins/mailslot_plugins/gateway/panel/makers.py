"""The way through the menu of each maker's devices to their settings for mail; the facts are in ``makers.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Maker:
    """A family of devices with the same menu.

    Attributes:
        id: its id in addresses.
        name: the maker and its devices.
        menus: the steps through the menu, by protocol: ``"SMTP"`` or ``"POP"``.
        fields: the device's names for ``host``, ``port``, ``security``, ``user`` and ``password``, by protocol.
    """

    id: str
    name: str
    menus: Mapping[str, tuple[str, ...]]
    fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, "Mapping[str, str]"])

    def menu(self, protocol: str) -> tuple[str, ...]:
        """Return the steps through the menu; empty if they are not known."""
        return self.menus.get(protocol, ())

    def field_name(self, protocol: str, key: str) -> str:
        """Return the device's name for a value; empty if it is not known."""
        return self.fields.get(protocol, {}).get(key, "")


@cache
def makers() -> tuple[Maker, ...]:
    """Return the makers whose menus are known, by name."""
    text = files("mailslot_plugins.gateway.panel").joinpath("makers.toml").read_text("utf-8")
    rows = cast("dict[str, dict[str, Any]]", tomllib.loads(text))
    found = [
        Maker(
            id_,
            row["name"],
            {protocol: tuple(row[protocol]["menu"]) for protocol in ("SMTP", "POP") if protocol in row},
            {protocol: row[protocol].get("fields", {}) for protocol in ("SMTP", "POP") if protocol in row},
        )
        for id_, row in rows.items()
    ]
    return tuple(sorted(found, key=lambda each: each.name))
