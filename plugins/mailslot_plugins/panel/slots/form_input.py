"""The submitted form of a slot, and the changes in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.slots.permission import least_role
from mailslot.slots.settings import KEYS, SECRETS, Settings, keys_for, parse_setting
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import FormData

    from mailslot.slots.slot import Protocol
    from mailslot_plugins.panel.slots.stored import StoredRecord

LOCAL_ONLY: Final = frozenset(name for name, key in KEYS.items() if least_role(key) == "local")
"""Settings that a page can only remove; setting them needs a login on the device."""

_WITH_PROVIDER: Final = ("server", "port", "security", "scopes", "client_id", "tenant")
"""Settings that a provider's preset supplies, or that are valid for one provider only."""

_CUSTOM: Final = frozenset({"", "custom"})


@dataclass(frozen=True, slots=True)
class FormInput:
    """A submitted form.

    Attributes:
        values: the values of its fields, by key.
        original: the values when the page was loaded.
        secrets: the entered secrets; None for one that is to be removed.
    """

    values: Mapping[str, str]
    original: Mapping[str, str]
    secrets: Mapping[str, Secret | None] = field(default_factory=dict[str, "Secret | None"])

    @property
    def changes(self) -> dict[str, str | None]:
        """The changed values; None unsets a setting."""
        return {key: text or None for key, text in self.values.items() if text != self.original[key]}

    def rebased(self, stored: StoredRecord) -> FormInput:
        """Return the same changes, applied to the stored record."""
        return replace(
            self, values={**stored.texts, **{key: self.values[key] for key in self.changes}}, original=stored.texts
        )

    def with_preset(self) -> FormInput:
        """Return the form with unchanged values of the old provider cleared, if another one was chosen.

        They would override the values of the new provider's preset.
        """
        provider = self.values["provider"]
        if provider == self.original["provider"] or provider in _CUSTOM:
            return self
        emptied = {key: "" for key in _WITH_PROVIDER if self.values[key] == self.original[key]}
        return replace(self, values={**self.values, **emptied})

    def with_former(self) -> FormInput:
        """Return the form with the cleared values restored, if the old provider is chosen again."""
        if self.values["provider"] != self.original["provider"]:
            return self
        back = {key: self.original[key] for key in _WITH_PROVIDER if not self.values[key]}
        return replace(self, values={**self.values, **back})

    def settings(self, settings: Settings, protocol: Protocol) -> Settings:
        """Return settings with the entered values that are valid on their own."""
        unset, found = Settings(), dict[str, Any]()
        for key, text in self.changes.items():
            try:
                value = parse_setting(key, text, protocol)
            except InputError:
                continue
            found[key] = getattr(unset, key) if value is None else value
        return replace(settings, **found)


def untouched_form(stored: StoredRecord) -> FormInput:
    """Return the form before anything was entered."""
    return FormInput(stored.texts, stored.texts)


def read_form(form: FormData, stored: StoredRecord, protocol: Protocol) -> FormInput:
    """Return the form that a browser sent.

    Args:
        form: its data; fields that are missing are unchanged.
        stored: the stored record.
        protocol: the slot's protocol.
    """
    typed, was = dict[str, str](), dict[str, str]()
    for key in keys_for(protocol):
        was[key] = typed[key] = stored.texts[key]
        if key not in LOCAL_ONLY:
            was[key] = _text(form, f"was-{key}", stored.texts[key])
            typed[key] = _text(form, key, was[key])
        if f"remove-{key}" in form:
            typed[key] = ""
    secrets = dict[str, Secret | None]()
    for name in SECRETS:
        if entered := _text(form, name, "", strip=False):
            secrets[name] = Secret(entered)
        elif f"remove-{name}" in form and stored.secrets[name] is not False:
            secrets[name] = None
    return FormInput(typed, was, secrets)


def _text(form: FormData, name: str, otherwise: str, *, strip: bool = True) -> str:
    value = form.get(name)
    if not isinstance(value, str):
        return otherwise
    text = value.replace("\r\n", "\n")
    return text.strip() if strip else text
