"""The form of a slot: its fields, their order, and their texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mailslot.oauth.presets import presets
from mailslot.slots.overview import settings_overview
from mailslot.slots.settings import SECRETS, keys_for
from mailslot.slots.slot import SLOTS
from mailslot_plugins.panel.slots.form_input import LOCAL_ONLY
from mailslot_plugins.panel.slots.labels import FOLDER, has_text, label, value_text, with_origin
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.slot import Protocol
    from mailslot_plugins.panel.slots.form_input import FormInput
    from mailslot_plugins.panel.slots.stored import StoredRecord

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
"""The fields in the order of the device's menu."""

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
"""The values of another field for which a field is shown, in the format of static/panel.js."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the form.

    Attributes:
        key: the setting or secret.
        kind: the kind of input.
        label: its name.
        value: its value; empty for a secret.
        placeholder: the value in effect if it is empty.
        hint: the text below it.
        error: the error in its value; empty if there is none.
        options: the choices, as values and texts.
        when: the values of another field for which it is shown; empty for always.
        is_set: whether a secret is stored; None if that cannot be read.
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
    """A group of fields with a heading.

    Attributes:
        name: its name.
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
        main: the fields of the device's menu.
        further: less common fields.
        original: the values shown on the page, by key, to detect changes by others later.
    """

    main: tuple[Field, ...]
    further: tuple[Group, ...]
    original: Mapping[str, str]

    @property
    def has_error(self) -> bool:
        """Whether one of the further fields has an error."""
        return any(field.error for group in self.further for field in group.fields)


def make_form(
    form_input: FormInput,
    stored: StoredRecord,
    protocol: Protocol,
    language: str,
    errors: Mapping[str, str] | None = None,
) -> Form:
    """Return the form with what was entered.

    Args:
        form_input: the submitted form.
        stored: what is stored.
        protocol: the slot's protocol.
        language: one of the panel's.
        errors: the errors, by key; None if there are none.
    """
    builder = _FormBuilder(form_input, stored, protocol, language, errors or {})
    main = _MAIN[protocol]
    placed = {*main, *_APPLICATION, *_OWN_PROVIDER}
    rest = tuple(key for key in keys_for(protocol) if key not in placed)
    return Form(
        builder.fields(main),
        (
            Group("application", "authentication=oauth2", builder.fields(_APPLICATION)),
            Group("own_provider", "provider= custom", builder.fields(_OWN_PROVIDER)),
            Group("connection", "", builder.fields(rest)),
        ),
        {key: text for key, text in form_input.original.items() if key not in LOCAL_ONLY},
    )


class _FormBuilder:
    """Builds the fields of a form."""

    def __init__(
        self, form_input: FormInput, stored: StoredRecord, protocol: Protocol, language: str, errors: Mapping[str, str]
    ) -> None:
        self._form_input = form_input
        self._stored = stored
        self._protocol: Protocol = protocol
        self._language = language
        self._errors = errors
        self._in_effect, self._origins = settings_overview(form_input.settings(stored.settings, protocol), protocol)

    def fields(self, keys: tuple[str, ...]) -> tuple[Field, ...]:
        """Return fields, without unset ones that can only be removed."""
        return tuple(self._field(key) for key in keys if key not in LOCAL_ONLY or self._form_input.values[key])

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
            is_set=self._stored.secrets.get(key, False),
        )

    def _kind(self, key: str) -> Kind:
        if key in LOCAL_ONLY:
            return "removable"
        if key in SECRETS:
            return "secret"
        return "choice" if key in _CHOICES else "number" if key in _NUMBERS else "text"

    def _value(self, key: str) -> str:
        if key in SECRETS:
            return ""
        typed = self._form_input.values[key]
        return value_text(key, typed, self._language) if key in LOCAL_ONLY else typed

    def _implied(self, key: str) -> str:
        """Return the value in effect if the field is empty; empty if there is none."""
        if key in SECRETS or key not in self._origins:
            return ""
        return value_text(key, self._in_effect[key], self._language)

    def _hint(self, key: str, implied: str) -> str:
        parts = [with_origin(implied, self._origins[key], self._language)] if implied and key not in _CHOICES else []
        word = "hint_local" if key in LOCAL_ONLY else f"hint_{key}"
        if has_text(word):
            parts.append(translate(FOLDER, word, self._language))
        return " ".join(parts)

    def _options(self, key: str, implied: str) -> tuple[tuple[str, str], ...]:
        values = list(_CHOICES.get(key, ()))
        if self._protocol == "POP" and key == "authentication":
            values.remove("pop_before_smtp")
        if key == "pop_slot" and self._form_input.values[key] not in values:
            # An account, which is chosen with a command.
            values.append(self._form_input.values[key])
        found: list[tuple[str, str]] = []
        for value in values:
            word = value_text(key, value, self._language)
            if not value:
                word = (
                    with_origin(implied, self._origins[key], self._language)
                    if implied
                    else translate(FOLDER, f"unset_{key}", self._language)
                )
            found.append((value, word))
        return tuple(found)
