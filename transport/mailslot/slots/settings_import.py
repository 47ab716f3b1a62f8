"""Import of exported settings; the changes can be shown before they are made.

The file may come from anybody, so it is trusted no more than an API key: a secret whose destination changes is removed,
and settings that need a login on the device are refused unless they are allowed explicitly.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from mailslot.errors import InputError
from mailslot.net.endpoint import Security
from mailslot.slots.gateway.passwords import RECORD_PREFIX as DEVICE_RECORD_PREFIX
from mailslot.slots.keys import json_value, quoted_value
from mailslot.slots.maildrop import check_option_permission
from mailslot.slots.normalization import MICROSOFT_NOTE, MICROSOFT_SETTINGS, needs_starttls
from mailslot.slots.overview import as_text
from mailslot.slots.permission import NotPermittedError, exceeds_role, required_role
from mailslot.slots.secret_destinations import DROPPED_NOTES, misdirected_secrets
from mailslot.slots.section import find_section
from mailslot.slots.settings import Settings, protocol_of
from mailslot.slots.settings_document import SettingsDocument, SettingsFileError, is_too_deep, parse_settings_document
from mailslot.slots.settings_export import HEADER, VERSION, keys_of, select_tables, tables_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from mailslot.slots.records import Records
    from mailslot.slots.settings_document import CurrentSettings
    from mailslot.slots.settings_export import Table, Tables


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that would change.

    Attributes:
        table: such as ``"records.smtp"``.
        key: the setting.
        before: the current value, as a JSON value; None if it is not set.
        after: the value in the export.
        local: whether only somebody with a login on the device may set this value.
    """

    table: str
    key: str
    before: Any
    after: Any
    local: bool

    def __str__(self) -> str:
        return f"[{self.table}] {self.key}: {_value_text(self.before)} → {_value_text(self.after)}"


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """The changes that an import would make.

    Attributes:
        name: the name of the export in sentences.
        changes: the settings that would change.
        dropped: the names of the secrets that would be removed, by record.
        notes: a sentence for each value that normalization has changed.
        values: the values to set, by table.
        before: the current values, by table.
    """

    name: str
    changes: tuple[SettingChange, ...]
    dropped: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    values: Mapping[Table, Mapping[str, Any]]
    before: Tables

    @property
    def dropped_notes(self) -> list[str]:
        """The sentences about the secrets that would be removed."""
        return [f"[records.{record}] {DROPPED_NOTES[name]}" for record, names in self.dropped.items() for name in names]

    def check_local(self) -> None:
        """Check that the import contains no settings that only somebody with a login on the device may set.

        Raises:
            SettingsFileError: it does; all of them are listed.
        """
        local = [each for each in self.changes if each.local]
        if local:
            found = "; ".join(f"[{each.table}] {each.key} = {quoted_value(_value_text(each.after))}" for each in local)
            raise SettingsFileError(
                f"{self.name} would have this device run programs, or use files and folders of its own, which only "
                f"somebody with a login on it may set: {found}. If that is what you want, add --allow-local."
            )


def plan_import(records: Records, text: str, name: str) -> ImportPlan:
    """Return the changes that an import would make, without making them. It blocks.

    Args:
        records: the home folder.
        text: the text of the export.
        name: its name in sentences.

    Raises:
        InputError: it is not an export, or is of another version; or it contains faults, all of which are listed.
        MailError: the vault cannot be read.
    """
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").replace("\r\n", "\n")
    _check_version(text, name)
    found = parse_settings_document(
        text, name, lambda table: HEADER if table == HEADER.name else find_section(table), complete=False
    )
    left_out = found.sections[HEADER.name].get("without", ())
    new = select_tables(tables_of(found), left_out)
    now = records.settings.current()
    before = _tables(now)
    old = select_tables(before, left_out)
    given_tables = cast("dict[str, dict[str, Any]]", tomllib.loads(text))
    values = {
        table: dict.fromkeys(old.get(table, {})) | new[table]
        for table in new
        if table[-1] in (given_tables if len(table) == 1 else given_tables.get(table[0], {}))
    }
    notes = _normalize(values, now.records, found.records)
    document = records.settings.preview(_json_values(values))
    after = document.records
    changes = tuple(
        _change(table, key, old.get(table, {}).get(key), value, now.records, after)
        for table, inner in values.items()
        for key, value in inner.items()
        if value != old.get(table, {}).get(key)
    )
    if not changes:
        return ImportPlan(name, (), {}, (), {}, before)
    notes = (*notes, *_missing_passwords(records, document, values))
    return ImportPlan(name, changes, _dropped(records, now.records, after), notes, values, before)


def apply_import(records: Records, plan: ImportPlan) -> None:
    """Apply a planned import in one atomic change. It blocks.

    Raises:
        InputError: the settings were changed in the meantime, or cannot be written.
        MailError: the vault cannot be written.
    """

    def check_unchanged() -> None:
        now, after = records.settings.current(), records.settings.preview(_json_values(plan.values))
        # The secrets may have changed while the person was asked to confirm.
        if _tables(now) != plan.before or _dropped(records, now.records, after.records) != plan.dropped:
            raise SettingsFileError("The settings were changed in the meantime, so nothing was imported: try again.")

    def changed_files() -> AbstractContextManager[dict[str, bytes | None]]:
        # They are changed together, so that a secret is never stored next to the wrong server.
        return records.vault.prepare_changes({record: dict.fromkeys(names) for record, names in plan.dropped.items()})

    if plan.changes:
        records.settings.edit(
            _json_values(plan.values),
            before_write=check_unchanged,
            other_documents=changed_files if plan.dropped else None,
        )


def _change(
    table: Table,
    key: str,
    current: object,
    value: object,
    before: Mapping[str, Settings],
    after: Mapping[str, Settings],
) -> SettingChange:
    local = exceeds_role(required_role(keys_of(table)[key], value, current), "administrator")
    if key in {"maildrop", "maildrop_options"}:
        try:
            check_option_permission(after[table[1]], before.get(table[1], Settings()), "administrator")
        except NotPermittedError:
            local = True
        except InputError:
            pass  # the plugin is not installed here, or its options differ
    return SettingChange(".".join(table), key, json_value(current), json_value(value), local=local)


def _dropped(
    records: Records, before: Mapping[str, Settings], after: Mapping[str, Settings]
) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for record, settings in after.items():
        if record not in before:
            continue
        if names := misdirected_secrets(before[record], settings, protocol_of(record, settings)):
            given_tables = records.vault.fields(record)
            found |= {record: stored} if (stored := tuple(name for name in names if name in given_tables)) else {}
    return found


def _tables(settings: CurrentSettings) -> Tables:
    return tables_of(SettingsDocument(settings.records, settings.sections, settings.groups))


def _json_values(values: Mapping[Table, Mapping[str, Any]]) -> Mapping[Table, Mapping[str, object | None]]:
    return {table: {key: json_value(value) for key, value in inner.items()} for table, inner in values.items()}


def _normalize(
    values: dict[Table, dict[str, Any]], before: Mapping[str, Settings], found: Mapping[str, Settings]
) -> tuple[str, ...]:
    """Normalize the values in place, as `Records.change` does, and return the notes."""
    notes: list[str] = []
    unset = Settings()
    for table, inner in values.items():
        if table[0] != "records":
            continue
        known = {
            key: getattr(unset, key) if value is None else value for key, value in inner.items() if key != "protocol"
        }
        protocol = protocol_of(table[1], found[table[1]])
        if needs_starttls(replace(before.get(table[1], unset), **known), protocol):
            inner.update(port=MICROSOFT_SETTINGS["port"], security=Security(MICROSOFT_SETTINGS["security"]))
            notes.append(MICROSOFT_NOTE)
    return tuple(dict.fromkeys(notes))


def _missing_passwords(records: Records, document: SettingsDocument, values: Mapping[Table, object]) -> list[str]:
    """Return a sentence for each imported device that must sign in but has no password here."""
    return [
        f"The device {name} has no password here; one is made by: mailslot device password {name}"
        for name, device in document.groups["devices"].items()
        if ("devices", name) in values
        and "user" in device
        and not records.vault.fields(f"{DEVICE_RECORD_PREFIX}{name}")
    ]


def _check_version(text: str, name: str) -> None:
    """Check the version of an export first, so that a newer format is not reported as faults."""
    if is_too_deep(text):
        return  # `parse_settings_document` reports this, too
    try:
        header: object = tomllib.loads(text).get(HEADER.name)
    except (ValueError, RecursionError):
        return  # `parse_settings_document` reports the line, and all other faults
    version = cast("dict[str, object]", header).get("export") if isinstance(header, dict) else None
    if version is None:
        raise SettingsFileError(f"{name} is not an export of mailslot's settings: it has no table [mailslot].")
    if version != VERSION or isinstance(version, bool):
        raise SettingsFileError(
            f"{name} was exported by another version of mailslot: its format is {quoted_value(version)}, and this one "
            f"knows {VERSION}."
        )


def _value_text(value: object) -> str:
    return "not set" if value is None else as_text(value)
