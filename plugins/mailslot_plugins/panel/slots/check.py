"""What is wrong with what somebody entered, by field; and who else has changed the same meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.slots.checks import check_secret
from mailslot.slots.normalization import normalize_change
from mailslot.slots.settings import parse_setting
from mailslot.slots.slot import PROTOCOLS
from mailslot_plugins.panel.slots.labels import FOLDER, has
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from mailslot.slots.records import Records
    from mailslot_plugins.panel.slots.entry import Entry
    from mailslot_plugins.panel.slots.stored import Stored

_TEXTS: Final = frozenset({"sender_name", "account", "client_id", "tenant"})


def faults(records: Records, record: str, entry: Entry, now: Stored) -> dict[str, InputError]:
    """Return what is not allowed, all of it, by key; under an empty key what belongs to no field. Blocks.

    Args:
        records: the home folder.
        record: which.
        entry: what was entered.
        now: what is kept.
    """
    found = dict[str, InputError]()
    protocol = PROTOCOLS[record]
    for key, text in entry.changes.items():
        try:
            for name, value in normalize_change({key: text}, now.settings, protocol).values.items():
                parse_setting(name, value, protocol)
        except InputError as error:
            found[key] = error
    for name, secret in entry.secrets.items():
        try:
            check_secret(name, secret)
        except InputError as error:
            found[name] = error
    if not found:
        try:
            records.plan_change(record, entry.changes, entry.secrets, role="administrator")
        except InputError as error:
            found[error.key] = error
    return found


def sentence(error: InputError, language: str) -> str:
    """Return what is said of a fault beside its field.

    Args:
        error: the fault.
        language: one of the panel's.
    """
    key = "wrong_text" if error.key in _TEXTS else f"wrong_{error.key}"
    return translate(FOLDER, key, language) if has(key) else str(error)


def changed_elsewhere(entry: Entry, now: Stored) -> dict[str, bool]:
    """Return what others have changed since the page was loaded: by key whether it was changed here, too.

    Args:
        entry: what was entered.
        now: what is kept.
    """
    mine = entry.changes
    return {key: key in mine and entry.typed[key] != text for key, text in now.texts.items() if text != entry.was[key]}
