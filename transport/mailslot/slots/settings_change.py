"""Applying changes to a settings document, and checking the result."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mailslot.slots.gateway.table_groups import GROUPS
from mailslot.slots.references import reference_faults
from mailslot.slots.settings import Settings, check_combination, protocol_from, protocol_of
from mailslot.slots.settings_document import SettingsDocument
from mailslot.slots.slot import is_account

if TYPE_CHECKING:
    from collections.abc import Mapping

Table = tuple[str, ...]
Values = dict[str, Any]


def apply_changes(document: SettingsDocument, changes: Mapping[Table, Values | None]) -> SettingsDocument:
    """Return a document after changes.

    Args:
        document: the settings before the changes.
        changes: parsed values, by table and key; None unsets a key, and None in place of a table's values removes the
            table.

    Raises:
        InputError: the values of a table contradict each other, or some are missing.
    """
    records, sections = dict(document.records), dict(document.sections)
    groups = {name: dict(tables) for name, tables in document.groups.items()}
    for table, values in changes.items():
        match table:
            case ("records", record) if values is None:
                # The record of one of the seven slots cannot be removed, so it becomes empty.
                records.pop(record) if is_account(record) else records.update({record: Settings()})
            case ("records", record):
                records[record] = _changed_record(record, records.get(record, Settings()), values or {})
            case (group, name):
                if values is None:
                    groups[group].pop(name, None)
                else:
                    groups[group][name] = found = _merged(groups[group].get(name, {}), values)
                    GROUPS[group].check(found)
            case (name, *_):
                sections[name] = _merged(sections.get(name, {}), values or {})
            case _:
                pass
    return SettingsDocument(records, sections, groups)


def check_document(document: SettingsDocument) -> None:
    """Check that the settings in a document fit together.

    Raises:
        InputError: the settings of a record contradict each other, or a table refers to something that does not exist.
    """
    for record, settings in document.records.items():
        check_combination(settings, protocol_of(record, settings))
    for _, error in reference_faults(document.records, document.groups):
        raise error


def _merged(before: Mapping[str, Any], values: Values) -> Values:
    return {key: value for key, value in {**before, **values}.items() if value is not None}


def _changed_record(record: str, settings: Settings, values: Values) -> Settings:
    unset = Settings()
    known = {key: getattr(unset, key) if value is None else value for key, value in values.items()}
    if is_account(record):
        text = known.get("protocol")
        known["protocol"] = settings.protocol if text is None else protocol_from(text)
    changed = replace(settings, **known)
    check_combination(changed, protocol_of(record, changed))
    return changed
