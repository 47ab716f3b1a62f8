"""The names of alert kinds in the panel's languages."""

from __future__ import annotations

from mailslot.slots.slot import SLOTS
from mailslot_plugins.alerts.kinds import KINDS
from mailslot_plugins.panel.slots.names import slot_name
from mailslot_plugins.panel.translations import translate

_COLOURS = ("black", "cyan", "magenta", "yellow")


def kind_name(kind: str, language: str, part: str = "") -> str:
    """Return the name of a kind.

    Args:
        kind: its name in commands; an unknown one is named as ``other``.
        language: one of the panel's languages.
        part: the affected part; empty if there is only one. A slot gets its name in the device's menu.
    """
    part = next((slot_name(slot, language) for slot in SLOTS if slot.id == part), part)
    part = translate("alerts", f"part_{part}", language) if part in _COLOURS else part
    name = translate("alerts", f"kind_{kind if kind in KINDS else 'other'}", language)
    return f"{name}: {part}" if part else name


def setting_label(key: str, language: str) -> str | None:
    """Return the label of a setting for one kind of alert; None for other settings."""
    kind = key.removeprefix("recipients_")
    return translate("alerts", "recipients_of", language, kind=kind_name(kind, language)) if kind in KINDS else None
