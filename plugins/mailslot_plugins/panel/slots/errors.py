"""Errors in the form of a slot, by field, and conflicts with changes by others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.slots.checks import check_secret
from mailslot.slots.normalization import normalize_change
from mailslot.slots.settings import parse_setting, protocol_of
from mailslot_plugins.panel.sentences import translated
from mailslot_plugins.panel.slots.labels import FOLDER, has_text
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from mailslot.slots.records import Records
    from mailslot_plugins.panel.slots.form_input import FormInput
    from mailslot_plugins.panel.slots.stored import StoredRecord

_TEXTS: Final = frozenset({"sender_name", "account", "client_id", "tenant"})


def find_errors(records: Records, record: str, form_input: FormInput, stored: StoredRecord) -> dict[str, InputError]:
    """Return all errors in a form, by key; an empty key for errors without a field. Blocks."""
    found = dict[str, InputError]()
    protocol = protocol_of(record, stored.settings)
    for key, text in form_input.changes.items():
        try:
            for name, value in normalize_change({key: text}, stored.settings, protocol).values.items():
                parse_setting(name, value, protocol)
        except InputError as error:
            found[key] = error
    for name, secret in form_input.secrets.items():
        try:
            check_secret(name, secret)
        except InputError as error:
            found[name] = error
    if not found:
        try:
            records.plan_change(record, form_input.changes, form_input.secrets, role="administrator")
        except InputError as error:
            found[error.key] = error
    return found


def error_text(error: InputError, language: str) -> str:
    """Return the text of an error beside its field."""
    key = "wrong_text" if error.key in _TEXTS else f"wrong_{error.key}"
    return translate(FOLDER, key, language) if has_text(key) else translated(str(error), language)


def changed_elsewhere(form_input: FormInput, stored: StoredRecord) -> dict[str, bool]:
    """Return the settings that others have changed since the page was loaded; True for those changed here, too."""
    changes = form_input.changes
    return {
        key: key in changes and form_input.values[key] != text
        for key, text in stored.texts.items()
        if text != form_input.original[key]
    }
