"""The submitted form of a slot, and the changes in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.slots.permission import least_role
from mailslot.slots.settings import KEYS, SECRETS, Settings, keys_for, parse_setting
from mailslot.slots.tokens import OFFLINE_ACCESS
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


@dataclass(frozen=True, slots=True)
class FormInput:
    """A submitted form.

    Attributes:
        values: the values of its fields, by key.
        original: the values when the page was loaded.
        secrets: the entered secrets; None for one that is to be removed.
        applied: the provider whose consequences the page already shows; empty if it shows none. A person may have
            changed them since.
    """

    values: Mapping[str, str]
    original: Mapping[str, str]
    secrets: Mapping[str, Secret | None] = field(default_factory=dict[str, "Secret | None"])
    applied: str = ""

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
        """Return the form with what follows from a newly chosen provider.

        Unchanged values of the old provider are cleared, since they would override those of the new one's preset. Where
        no way to sign in was chosen, it is OAuth 2.0.
        """
        provider = self.values["provider"]
        if provider == self.original["provider"] or not provider or provider == self.applied:
            return self
        found = dict(self.values)
        if provider != "custom":
            found |= {key: "" for key in _WITH_PROVIDER if self.values[key] == self.original[key]}
        if self.values["authentication"] == self.original["authentication"] == "none":
            found["authentication"] = "oauth2"
        return replace(self, values=found)

    def with_proposals(self) -> FormInput:
        """Return the form with values that a person may want to keep: for one's own provider, a scope to begin with."""
        if self.values["provider"] != "custom" or self.values["scopes"] or self.original["provider"] == "custom":
            return self
        return replace(self, values={**self.values, "scopes": OFFLINE_ACCESS})

    def with_former(self) -> FormInput:
        """Return the form with the original values restored, if the original provider is chosen again."""
        if self.values["provider"] != self.original["provider"]:
            return self
        back = {key: self.original[key] for key in _WITH_PROVIDER if not self.values[key]}
        if self.values["scopes"] == OFFLINE_ACCESS:
            back["scopes"] = self.original["scopes"]
        if self.original["authentication"] == "none":
            back["authentication"] = "none"
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
    return FormInput(typed, was, secrets, _text(form, "applied-provider", ""))


def _text(form: FormData, name: str, otherwise: str, *, strip: bool = True) -> str:
    value = form.get(name)
    if not isinstance(value, str):
        return otherwise
    text = value.replace("\r\n", "\n")
    return text.strip() if strip else text
