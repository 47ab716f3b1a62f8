"""A change that waits for confirmation, and what it would change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.slots.overview import settings_overview
from mailslot.slots.secret_destinations import TOKEN_SERVICE_KEYS
from mailslot.slots.settings import protocol_of
from mailslot_plugins.panel.slots.labels import FOLDER, label, value_text, with_origin
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.records import Records
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Protocol
    from mailslot_plugins.panel.slots.form_input import FormInput
    from mailslot_plugins.panel.slots.stored import StoredRecord

_IDENTITY: Final = frozenset({"account", "client_id", "tenant", "authentication", *TOKEN_SERVICE_KEYS})
"""Settings whose change may make an existing token unusable."""


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One changed setting or secret."""

    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A change that waits for confirmation in a session.

    Attributes:
        form_input: the submitted form.
        elsewhere: the keys that others have changed since the page was loaded; their changes are kept.
        before: the values of the record when the change was shown, by key.
    """

    form_input: FormInput
    elsewhere: tuple[str, ...]
    before: Mapping[str, str]


def needs_review(form_input: FormInput, stored: StoredRecord, *, shared: bool, elsewhere: bool, drops: bool) -> bool:
    """Return whether a change needs confirmation.

    Args:
        form_input: the submitted form.
        stored: the stored record.
        shared: whether other slots share the record.
        elsewhere: whether others have changed the record in the meantime.
        drops: whether a secret is removed because it would go to another server.
    """
    return shared or elsewhere or drops or touches_token(form_input, stored)


def touches_token(form_input: FormInput, stored: StoredRecord) -> bool:
    """Return whether a change may make an existing token unusable."""
    return stored.has_token and bool(_IDENTITY & form_input.changes.keys() or "client_secret" in form_input.secrets)


def change_rows(
    records: Records, record: str, form_input: FormInput, stored: StoredRecord, dropped: tuple[str, ...], language: str
) -> list[ChangeRow]:
    """Return the changed settings and secrets, after normalization. Blocks.

    Args:
        records: the records.
        record: the name of the record.
        form_input: the submitted form.
        stored: the stored record.
        dropped: the secrets that are removed because they would go to another server.
        language: one of the panel's.

    Raises:
        InputError: it is not allowed.
    """
    protocol = protocol_of(record, stored.settings)
    after = records.settings.check(record, records.plan_change(record, form_input.changes, form_input.secrets).values)
    found = difference(stored.settings, after, protocol, language)
    for name, secret in {**dict.fromkeys(dropped), **form_input.secrets}.items():
        kept = {True: "secret_set", False: "secret_unset", None: "secret_unreadable"}[stored.secrets[name]]
        words = (
            translate(FOLDER, kept, language),
            translate(FOLDER, "secret_removed" if secret is None else "secret_new", language),
        )
        found.append(ChangeRow(label(name, protocol, language), *words))
    return found


def difference(before: Settings, after: Settings, protocol: Protocol, language: str) -> list[ChangeRow]:
    """Return the differences between settings, for people."""
    former, new = _texts(before, protocol, language), _texts(after, protocol, language)
    return [
        ChangeRow(label(key, protocol, language), former[key], new[key])
        for key in former
        if getattr(before, key) != getattr(after, key)
    ]


def _texts(settings: Settings, protocol: Protocol, language: str) -> dict[str, str]:
    in_effect, origins = settings_overview(settings, protocol)
    found = dict[str, str]()
    for key, value in in_effect.items():
        text = value_text(key, value, language)
        if text and key in origins:
            text = with_origin(text, origins[key], language)
        found[key] = text or translate(FOLDER, "not_set", language)
    return found
