"""The form of a slot: which fields there are, in which order, and what is said beside each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mailslot.oauth.presets import presets
from mailslot.slots.overview import settings_overview
from mailslot.slots.settings import SECRETS, keys_for
from mailslot.slots.slot import SLOTS
from mailslot_plugins.panel.slots.entry import NOT_HERE
from mailslot_plugins.panel.slots.labels import FOLDER, has, label, shown, with_origin
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.slot import Protocol
    from mailslot_plugins.panel.slots.entry import Entry
    from mailslot_plugins.panel.slots.stored import Stored

Kind = Literal["text", "number", "choice", "secret", "removable"]

_MAIN: Final[Mapping[Protocol, tuple[str, ...]]] = {
    "SMTP": (
        *("server", "secondary_server", "port", "timeout", "sender_name", "sender_address", "security"),
        *("authentication", "pop_slot", "provider", "account", "password"),
    ),
    "POP": (
        *("server", "port", "check_interval", "security", "authentication", "provider", "account", "password"),
        *("after_fetch", "first_poll"),
    ),
}
"""The fields in the order of design, section 2."""

_APPLICATION: Final = (
    *("client_id", "tenant", "client_secret", "flow", "redirect_uri", "redirect_port", "scopes", "token_source"),
)
_OWN_PROVIDER: Final = (
    *("issuer", "authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "revocation_endpoint"),
)

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "security": ("", "starttls", "tls", "none"),
    "authentication": ("none", "password", "pop_before_smtp", "oauth2"),
    "provider": ("", *presets(), "custom"),
    "flow": ("", "browser", "device", "paste", "app"),
    "after_fetch": ("delete", "keep"),
    "first_poll": ("new", "all"),
    "pop_slot": ("", *(slot.id for slot in SLOTS if slot.protocol == "POP")),
}
_NUMBERS: Final = frozenset({"port", "timeout", "check_interval", "redirect_port"})

_SIGNS_IN: Final = "authentication=password oauth2"
_WHEN: Final[Mapping[str, str]] = {
    "pop_slot": "authentication=pop_before_smtp",
    "account": _SIGNS_IN,
    "password": "authentication=password",
}
"""For which values of another field one matters, as static/panel.js reads it."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the form.

    Attributes:
        key: its setting or secret.
        kind: how it is entered.
        label: what it is called.
        value: what stands in it; of a secret nothing.
        placeholder: what holds where it is empty.
        hint: what is said below it.
        error: what is wrong with what was entered; empty where nothing is.
        options: what there is to choose from, as values and words.
        when: for which values of another field it matters; empty for always.
        is_set: whether a secret is kept; None where that cannot be read.
    """

    key: str
    kind: Kind
    label: str
    value: str
    placeholder: str
    hint: str
    error: str
    options: tuple[tuple[str, str], ...]
    when: str
    is_set: bool | None


@dataclass(frozen=True, slots=True)
class Group:
    """Some fields under a heading.

    Attributes:
        name: its word.
        when: as for `Field`.
        fields: the fields.
    """

    name: str
    when: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """The whole form.

    Attributes:
        main: the fields of the device's own menu.
        further: those that few need.
        was: what the page shows now, by key, to see later whether somebody else has changed it.
    """

    main: tuple[Field, ...]
    further: tuple[Group, ...]
    was: Mapping[str, str]

    @property
    def is_wrong(self) -> bool:
        """Whether anything among the further fields is wrong."""
        return any(field.error for group in self.further for field in group.fields)


def make_form(
    entry: Entry, now: Stored, protocol: Protocol, language: str, errors: Mapping[str, str] | None = None
) -> Form:
    """Return the form with what was entered.

    Args:
        entry: what was.
        now: what is kept.
        protocol: what the slot is for.
        language: one of the panel's.
        errors: what is wrong, by key; None for nothing.
    """
    making = _Making(entry, now, protocol, language, errors or {})
    main = _MAIN[protocol]
    placed = {*main, *_APPLICATION, *_OWN_PROVIDER}
    rest = tuple(key for key in keys_for(protocol) if key not in placed)
    return Form(
        making.fields(main),
        (
            Group("application", "authentication=oauth2", making.fields(_APPLICATION)),
            Group("own_provider", "provider= custom", making.fields(_OWN_PROVIDER)),
            Group("connection", "", making.fields(rest)),
        ),
        {key: text for key, text in entry.was.items() if key not in NOT_HERE},
    )


class _Making:
    """Makes the fields of one form."""

    def __init__(self, entry: Entry, now: Stored, protocol: Protocol, language: str, errors: Mapping[str, str]) -> None:
        self._entry = entry
        self._now = now
        self._protocol: Protocol = protocol
        self._language = language
        self._errors = errors
        self._holds, self._from = settings_overview(entry.settings(now.settings, protocol), protocol)

    def fields(self, keys: tuple[str, ...]) -> tuple[Field, ...]:
        """Return fields, without those that can only be removed and are not there."""
        return tuple(self._field(key) for key in keys if key not in NOT_HERE or self._entry.typed[key])

    def _field(self, key: str) -> Field:
        implied = self._implied(key)
        return Field(
            key=key,
            kind=self._kind(key),
            label=label(key, self._protocol, self._language),
            value=self._value(key),
            placeholder=implied,
            hint=self._hint(key, implied),
            error=self._errors.get(key, ""),
            options=self._options(key, implied),
            when=_WHEN.get(key, ""),
            is_set=self._now.secrets.get(key, False),
        )

    def _kind(self, key: str) -> Kind:
        if key in NOT_HERE:
            return "removable"
        if key in SECRETS:
            return "secret"
        return "choice" if key in _CHOICES else "number" if key in _NUMBERS else "text"

    def _value(self, key: str) -> str:
        if key in SECRETS:
            return ""
        typed = self._entry.typed[key]
        return shown(key, typed, self._language) if key in NOT_HERE else typed

    def _implied(self, key: str) -> str:
        """Return what holds where the field is empty; empty where nothing does."""
        if key in SECRETS or key not in self._from:
            return ""
        return shown(key, self._holds[key], self._language)

    def _hint(self, key: str, implied: str) -> str:
        parts = [with_origin(implied, self._from[key], self._language)] if implied and key not in _CHOICES else []
        word = "hint_local" if key in NOT_HERE else f"hint_{key}"
        if has(word):
            parts.append(translate(FOLDER, word, self._language))
        return " ".join(parts)

    def _options(self, key: str, implied: str) -> tuple[tuple[str, str], ...]:
        values = list(_CHOICES.get(key, ()))
        if self._protocol == "POP" and key == "authentication":
            values.remove("pop_before_smtp")
        found: list[tuple[str, str]] = []
        for value in values:
            word = shown(key, value, self._language)
            if not value:
                word = (
                    with_origin(implied, self._from[key], self._language)
                    if implied
                    else translate(FOLDER, f"unset_{key}", self._language)
                )
            found.append((value, word))
        return tuple(found)
