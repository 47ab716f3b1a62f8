"""What kinds of trouble are called in the panel's languages."""

from __future__ import annotations

from mailslot.slots.slot import SLOTS
from mailslot_plugins.alerts.kinds import KINDS
from mailslot_plugins.panel.translations import translate


def kind_name(kind: str, language: str, part: str = "") -> str:
    """Return what a kind is called.

    Args:
        kind: its name in commands; any that is not known is called as ``other`` is.
        language: one of the panel's.
        part: which of several it is about; empty where there is but one. A slot is called as the device's menu does.
    """
    part = next((slot.path.rpartition(" → ")[2] for slot in SLOTS if slot.id == part), part)
    name = translate("alerts", f"kind_{kind if kind in KINDS else 'other'}", language)
    return f"{name}: {part}" if part else name


def setting_label(key: str, language: str) -> str | None:
    """Return what a setting is called that is about one kind; None for any other."""
    kind = key.removeprefix("recipients_")
    return translate("alerts", "recipients_of", language, kind=kind_name(kind, language)) if kind in KINDS else None
