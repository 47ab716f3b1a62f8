"""The names of settings and their values on the panel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mailslot.diagnosis.remedy import UNKNOWN, settings_to_change
from mailslot.errors import InputError
from mailslot.oauth.presets import preset
from mailslot.slots.keys import json_value
from mailslot.slots.overview import as_text
from mailslot.slots.settings import KEYS
from mailslot.slots.slot import SLOTS
from mailslot_plugins.panel.slots.names import slot_name
from mailslot_plugins.panel.translations import load_texts, translate

if TYPE_CHECKING:
    from mailslot.diagnosis.diagnosis import Diagnosis
    from mailslot.slots.slot import Protocol

FOLDER: Final = "slots"
"""The folder of the texts."""

_ORIGINS: Final = {
    "default": "origin_default",
    "the port": "origin_port",
    "the encryption": "origin_encryption",
    "the account": "origin_account",
}
"""Texts for the results of `mailslot.slots.effective_settings.value_sources`; providers' names are not translated."""


def has_text(key: str) -> bool:
    """Return whether there is such a text."""
    return key in load_texts(FOLDER)


def label(key: str, protocol: Protocol, language: str) -> str:
    """Return the name of a setting or secret; its key if there is no text."""
    for name in (f"label_{key}_{protocol}", f"label_{key}"):
        if has_text(name):
            return translate(FOLDER, name, language)
    return key


def value_text(key: str, value: object, language: str) -> str:
    """Return a setting's value for people; empty if it is not set.

    Args:
        key: the key.
        value: its value in `mailslot.slots.settings.Settings` or in a form.
        language: one of the panel's.
    """
    text = as_text(json_value(value))
    if text and has_text(f"value_{key}_{text}"):
        return translate(FOLDER, f"value_{key}_{text}", language)
    if key == "provider" and text:
        try:
            return preset(text).name
        except InputError:
            return text
    if key == "token_source":
        # The arguments of a program may be confidential.
        return text.partition(" ")[0]
    if key == "pop_slot":
        return next((slot_name(slot, language) for slot in SLOTS if slot.id == text), text)
    return text


def settings_to_enter(diagnosis: Diagnosis, protocol: Protocol, language: str) -> tuple[tuple[str, str, str], ...]:
    """Return the settings of the slot that may be wrong: key, name, and the value to enter, which may be empty."""
    found: list[tuple[str, str, str]] = []
    for setting in settings_to_change(diagnosis.cause, diagnosis.facts):
        key, _, value = setting.partition("=")
        known = value not in {UNKNOWN, "-"}
        found.append((key, label(key, protocol, language), value_text(key, value, language) if known else ""))
    return tuple(found)


def with_labels(diagnosis: Diagnosis, protocol: Protocol, language: str) -> Diagnosis:
    """Return a diagnosis with the form's name for a missing setting."""
    missing = diagnosis.facts.get("missing", "")
    if missing not in KEYS:
        return diagnosis
    return replace(diagnosis, facts={**diagnosis.facts, "missing": label(missing, protocol, language)})


def with_origin(text: str, origin: str, language: str) -> str:
    """Return a value with its origin, such as ``"smtp.office365.com, from Microsoft 365"``.

    Args:
        text: the value.
        origin: the origin from `mailslot.slots.effective_settings.value_sources`.
        language: one of the panel's.
    """
    if origin in _ORIGINS:
        return translate(FOLDER, _ORIGINS[origin], language, value=text)
    return translate(FOLDER, "origin", language, value=text, origin=origin)
