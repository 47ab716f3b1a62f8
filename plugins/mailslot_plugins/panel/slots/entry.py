"""What somebody has entered in the form of a slot, and what of it is a change."""

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
    from mailslot_plugins.panel.slots.stored import Stored

NOT_HERE: Final = frozenset(name for name, key in KEYS.items() if least_role(key) == "local")
"""Settings that a page can only remove: who sets them is somebody with a login on the device."""

_WITH_PROVIDER: Final = ("server", "port", "security", "scopes", "client_id", "tenant")
"""Settings that a known provider brings, or that hold at one alone."""

_CUSTOM: Final = frozenset({"", "custom"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A form that was filled in.

    Attributes:
        typed: what stands in its fields, by key.
        was: what stood there when the page was loaded.
        secrets: passwords that were entered; None for one that is to be removed.
    """

    typed: Mapping[str, str]
    was: Mapping[str, str]
    secrets: Mapping[str, Secret | None] = field(default_factory=dict[str, "Secret | None"])

    @property
    def changes(self) -> dict[str, str | None]:
        """What is to be changed; None unsets."""
        return {key: text or None for key, text in self.typed.items() if text != self.was[key]}

    def over(self, now: Stored) -> Entry:
        """Return the same changes to what is kept now.

        Args:
            now: what is kept.
        """
        return replace(self, typed={**now.texts, **{key: self.typed[key] for key in self.changes}}, was=now.texts)

    def with_preset(self) -> Entry:
        """Return it with room for what the provider brings, where another one was chosen.

        What was entered for the former provider, and was not touched now, would only stand in its way.
        """
        now = self.typed["provider"]
        if now == self.was["provider"] or now in _CUSTOM:
            return self
        emptied = {key: "" for key in _WITH_PROVIDER if self.typed[key] == self.was[key]}
        return replace(self, typed={**self.typed, **emptied})

    def with_former(self) -> Entry:
        """Return it with what was emptied for another provider's sake, where the former one is chosen again."""
        if self.typed["provider"] != self.was["provider"]:
            return self
        back = {key: self.was[key] for key in _WITH_PROVIDER if not self.typed[key]}
        return replace(self, typed={**self.typed, **back})

    def settings(self, settings: Settings, protocol: Protocol) -> Settings:
        """Return settings with what was entered, as far as it is allowed by itself.

        Args:
            settings: those that are kept.
            protocol: what the slot is for.
        """
        unset, found = Settings(), dict[str, Any]()
        for key, text in self.changes.items():
            try:
                value = parse_setting(key, text, protocol)
            except InputError:
                continue
            found[key] = getattr(unset, key) if value is None else value
        return replace(settings, **found)


def unchanged(now: Stored) -> Entry:
    """Return the form as it is before anybody has touched it."""
    return Entry(now.texts, now.texts)


def read_entry(form: FormData, now: Stored, protocol: Protocol) -> Entry:
    """Return what a form holds.

    Args:
        form: as the browser sent it; what is missing in it was not touched.
        now: what is kept.
        protocol: what the slot is for.
    """
    typed, was = dict[str, str](), dict[str, str]()
    for key in keys_for(protocol):
        was[key] = typed[key] = now.texts[key]
        if key not in NOT_HERE:
            was[key] = _text(form, f"was-{key}", now.texts[key])
            typed[key] = _text(form, key, was[key])
        if f"remove-{key}" in form:
            typed[key] = ""
    secrets = dict[str, Secret | None]()
    for name in SECRETS:
        if entered := _text(form, name, "", strip=False):
            secrets[name] = Secret(entered)
        elif f"remove-{name}" in form and now.secrets[name] is not False:
            secrets[name] = None
    return Entry(typed, was, secrets)


def _text(form: FormData, name: str, otherwise: str, *, strip: bool = True) -> str:
    value = form.get(name)
    if not isinstance(value, str):
        return otherwise
    text = value.replace("\r\n", "\n")
    return text.strip() if strip else text
