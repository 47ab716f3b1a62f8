"""The names of slots, as in the device's menu, in the panel's languages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot_plugins.panel.translations import load_texts, translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.slots.slot import Slot

_SEPARATOR: Final = " → "
_FOLDER: Final = "slots"


def menu_steps(slot: Slot, language: str) -> list[str]:
    """Return the steps through the device's menu; the last one is the slot's own name."""
    return [_step(step, language) for step in slot.path.split(_SEPARATOR)]


def slot_name(slot: Slot, language: str) -> str:
    """Return a slot's own name, which is the last step through the device's menu."""
    return menu_steps(slot, language)[-1]


def slot_names(slots: Sequence[Slot], language: str) -> str:
    """Return the names of slots as a list in a sentence; empty for no slots."""
    names = [slot_name(slot, language) for slot in slots]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {translate('layout', 'and', language)} {names[-1]}"


def _step(english: str, language: str) -> str:
    """Return a step in a language; unchanged if it has no translation, like the name of an account."""
    key = "step_" + "_".join(re.findall(r"[a-z]+", english.lower()))
    return translate(_FOLDER, key, language) if key in load_texts(_FOLDER) else english
