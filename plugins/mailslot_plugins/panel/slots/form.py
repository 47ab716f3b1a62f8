"""The form of a slot: its fields, their order, and their texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mailslot.oauth.presets import presets
from mailslot.slots.overview import settings_overview
from mailslot.slots.settings import SECRETS
from mailslot.slots.slot import SLOTS
from mailslot_plugins.panel.slots.form_input import LOCAL_ONLY
from mailslot_plugins.panel.slots.form_layout import further_fields, is_custom, main_fields
from mailslot_plugins.panel.slots.labels import FOLDER, has_text, label, value_text, with_origin
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.slot import Protocol
    from mailslot_plugins.panel.slots.form_input import FormInput
    from mailslot_plugins.panel.slots.stored import StoredRecord

Kind = Literal["text", "number", "choice", "secret", "local"]

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

_GROUP_WHEN: Final[Mapping[str, str]] = {"application": "authentication=oauth2", "own_provider": "provider= custom"}
"""The same for groups."""


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
        main: the fields that are shown at once.
        further: the fields that are folded away.
        original: the values shown on the page, by key, to detect changes by others later.
    """

    main: tuple[Field, ...]
    further: tuple[Group, ...]
    original: Mapping[str, str]

    @property
    def provider(self) -> str:
        """The chosen provider."""
        return next(each.value for each in self.main if each.key == "provider")

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
    further = further_fields(form_input.values, protocol)
    return Form(
        builder.fields(main_fields(form_input.values, protocol)),
        tuple(Group(name, _GROUP_WHEN.get(name, ""), builder.fields(keys)) for name, keys in further.items()),
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
        """Return fields."""
        return tuple(self._field(key) for key in keys)

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
            return "local"
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
        if key == "provider":
            return self._preset()
        parts = [with_origin(implied, self._origins[key], self._language)] if implied and key not in _CHOICES else []
        word = "hint_local" if key in LOCAL_ONLY else f"hint_{key}"
        if key == "scopes" and is_custom(self._form_input.values):
            word = "hint_scopes_custom"
        if has_text(word):
            parts.append(translate(FOLDER, word, self._language))
        return " ".join(parts)

    def _preset(self) -> str:
        """Return what follows from the provider, for its hint; empty for one that has no preset."""
        if self._form_input.values["provider"] in {"", "custom"} or not self._in_effect["server"]:
            return ""
        followed = ("authentication", "server", "port", "security")
        values = (value_text(key, self._in_effect[key], self._language) for key in followed)
        return " · ".join(filter(None, values))

    def _options(self, key: str, implied: str) -> tuple[tuple[str, str], ...]:
        values = list(_CHOICES.get(key, ()))
        if self._protocol == "POP" and key == "authentication":
            values.remove("pop_before_smtp")
        if key == "pop_slot" and self._form_input.values[key] not in values:
            # An account, which is chosen with a command.
            values.append(self._form_input.values[key])
        # The endpoints alone make a provider of one's own.
        endpoints_alone = key == "provider" and not self._form_input.values[key] and is_custom(self._form_input.values)
        if endpoints_alone:
            values.remove("custom")
        found: list[tuple[str, str]] = []
        for value in values:
            word = value_text(key, value or ("custom" if endpoints_alone else ""), self._language)
            if not word:
                word = (
                    with_origin(implied, self._origins[key], self._language)
                    if implied
                    else translate(FOLDER, f"unset_{key}", self._language)
                )
            found.append((value, word))
        return tuple(found)
