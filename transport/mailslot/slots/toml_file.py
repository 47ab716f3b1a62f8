"""``mailslot.toml``: read with all its faults at once, changed without losing a comment, written atomically."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from mailslot.errors import InputError
from mailslot.slots.settings import KEYS, Settings, check_combination, parse_setting
from mailslot.slots.slot import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tomlkit import TOMLDocument

NAME: Final = "mailslot.toml"


class SettingsFile:
    """The settings of all records in one file of the home folder.

    Attributes:
        path: the file; it need not exist.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / NAME

    def load(self) -> dict[str, Settings]:
        """Return the settings of every record, those that are not in the file with nothing set.

        Raises:
            InputError: the file cannot be read, or holds something that is not allowed; all of it is named.
        """
        return _parsed(self._document(), str(self.path))

    def check(self, record: str, values: Mapping[str, object | None]) -> Settings:
        """Return what a record's settings would be after a change, and change nothing.

        Raises:
            InputError: as for `change`.
        """
        return self._changed(record, values)[1]

    def change(self, record: str, values: Mapping[str, object | None]) -> Settings:
        """Change settings of a record and write the file; nothing changes where anything is not allowed.

        Args:
            record: which one.
            values: text or numbers by key; None unsets.

        Returns:
            the record's settings from now on.

        Raises:
            InputError: a key, a value or the combination is not allowed, or the file cannot be written.
        """
        document, settings = self._changed(record, values)
        self._write(tomlkit.dumps(document))
        return settings

    def _changed(self, record: str, values: Mapping[str, object | None]) -> tuple[TOMLDocument, Settings]:
        document = self._document()
        records: object = document.setdefault("records", tomlkit.table(is_super_table=True))
        table: object = records.setdefault(record, tomlkit.table()) if isinstance(records, Table) else None
        if not isinstance(table, Table):
            _parsed(document, str(self.path))
            raise _unusable(f"{self.path} has a value where [records.{record}] should be.")
        for key, value in values.items():
            if value is None:
                if key not in KEYS:
                    parse_setting(key, "", PROTOCOLS[record])
                cast("dict[str, Any]", table).pop(key, None)
            else:
                table[key] = _plain(parse_setting(key, value, PROTOCOLS[record]))
        settings = _parsed(document, str(self.path))[record]
        check_combination(settings, PROTOCOLS[record])
        return document, settings

    def _document(self) -> TOMLDocument:
        try:
            return tomlkit.parse(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return tomlkit.document()
        except (TOMLKitError, UnicodeDecodeError) as error:
            raise _unusable(f"{self.path} is not a TOML file: {error}.") from error
        except OSError as error:
            raise _unusable(f"{self.path} cannot be read: {error.strerror}.") from error

    def _write(self, text: str) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{NAME}.")
            temporary = Path(name)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self.path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise _unusable(f"{self.path} cannot be written: {error.strerror}.") from error


def _parsed(document: TOMLDocument, path: str) -> dict[str, Settings]:
    found: dict[str, Settings] = {record: Settings() for record in PROTOCOLS}
    content = cast("dict[str, object]", document.unwrap())
    faults = [f"{name!r} is not known; settings stand under [records.NAME]" for name in content if name != "records"]
    records = content.get("records", {})
    if not isinstance(records, dict):
        records = {}
        faults.append("'records' must be a table")
    for record, table in cast("dict[str, object]", records).items():
        if record not in found:
            faults.append(f"[records.{record}] is not known; the records are {', '.join(found)}")
        elif not isinstance(table, dict):
            faults.append(f"records.{record} must be a table")
        else:
            values, wrong = _values(record, cast("dict[str, object]", table))
            faults += wrong
            found[record] = replace(Settings(), **values)
    if faults:
        raise _unusable(f"{path} has faults: {'; '.join(faults)}.", "\n".join(faults))
    return found


def _values(record: str, table: dict[str, object]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    faults: list[str] = []
    for key, value in table.items():
        try:
            values[key] = parse_setting(key, value, PROTOCOLS[record])
        except InputError as error:
            faults.append(f"in [records.{record}]: {str(error).removesuffix('.')}")
    return values, faults


def _plain(value: object) -> object:
    """Return a value as TOML holds it."""
    if isinstance(value, tuple):
        return list(cast("tuple[object, ...]", value))
    if isinstance(value, int):
        return value
    return str(getattr(value, "value", value))


def _unusable(sentence: str, detail: str = "") -> InputError:
    return InputError(sentence, stage="resolve", cause="not_configured", detail=detail)
