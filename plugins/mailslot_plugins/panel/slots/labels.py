"""What settings and their values are called on the panel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.oauth.presets import preset
from mailslot.slots.keys import json_value
from mailslot.slots.overview import as_text
from mailslot.slots.settings import KEYS
from mailslot.slots.slot import SLOTS
from mailslot_plugins.panel.slots.place import steps
from mailslot_plugins.panel.translations import translate, words

if TYPE_CHECKING:
    from mailslot.diagnosis.diagnosis import Diagnosis
    from mailslot.slots.slot import Protocol

FOLDER: Final = "slots"
"""Where the words are."""

_ORIGINS: Final = {
    "default": "origin_default",
    "the port": "origin_port",
    "the encryption": "origin_encryption",
    "the account": "origin_account",
}
"""The words for `mailslot.slots.effective_settings.value_sources`; a provider's name is the same in every language."""


def has(key: str) -> bool:
    """Whether there is such a text."""
    return key in words(FOLDER)


def label(key: str, protocol: Protocol, language: str) -> str:
    """Return what a setting or secret is called; one that the panel does not know, by its key.

    Args:
        key: which.
        protocol: what the slot is for.
        language: one of the panel's.
    """
    for name in (f"label_{key}_{protocol}", f"label_{key}"):
        if has(name):
            return translate(FOLDER, name, language)
    return key


def shown(key: str, value: object, language: str) -> str:
    """Return a setting's value as people read it; empty where it is not set.

    Args:
        key: which.
        value: as `mailslot.slots.settings.Settings` or a form holds it.
        language: one of the panel's.
    """
    text = as_text(json_value(value))
    if text and has(f"value_{key}_{text}"):
        return translate(FOLDER, f"value_{key}_{text}", language)
    if key == "provider" and text:
        try:
            return preset(text).name
        except InputError:
            return text
    if key == "token_source":
        # What a program is told may be nobody's business.
        return text.partition(" ")[0]
    if key == "pop_slot":
        return next((steps(slot)[-1] for slot in SLOTS if slot.id == text), text)
    return text


def named(diagnosis: Diagnosis, protocol: Protocol, language: str) -> Diagnosis:
    """Return a diagnosis whose missing setting is called as the form calls it.

    Args:
        diagnosis: what was found.
        protocol: what the slot is for.
        language: one of the panel's.
    """
    missing = diagnosis.facts.get("missing", "")
    if missing not in KEYS:
        return diagnosis
    return replace(diagnosis, facts={**diagnosis.facts, "missing": label(missing, protocol, language)})


def with_origin(text: str, origin: str, language: str) -> str:
    """Return a value with where it is from, such as ``"smtp.office365.com, from Microsoft 365"``.

    Args:
        text: the value.
        origin: as `mailslot.slots.effective_settings.value_sources` says it.
        language: one of the panel's.
    """
    if origin in _ORIGINS:
        return translate(FOLDER, _ORIGINS[origin], language, value=text)
    return translate(FOLDER, "origin", language, value=text, origin=origin)
