"""The file ``mailslot.toml``: read again when it has changed, edited without losing comments, written atomically."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mailslot.errors import InputError
from mailslot.home.folder import home_of
from mailslot.slots.gateway.table_groups import GROUPS
from mailslot.slots.keys import parse_new_value, parse_value
from mailslot.slots.section import find_section
from mailslot.slots.settings import (
    PROTOCOL_KEY,
    RecordSettings,
    Settings,
    directory_of,
    parse_setting,
    protocol_from,
    protocol_text,
)
from mailslot.slots.settings_change import Table, Values, apply_changes, check_document
from mailslot.slots.settings_document import (
    CurrentSettings,
    SettingsDocument,
    SettingsFileError,
    parse_settings_document,
)
from mailslot.slots.slot import SlotDirectory, is_account
from mailslot.vault.errors import VaultError, reason_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from mailslot.home.home import Home
    from mailslot.slots.section import Section
    from mailslot.slots.slot import Protocol

FILE_NAME: Final = "mailslot.toml"

MAX_OCTETS: Final = 1024 * 1024
"""The maximum size of the file, in octets."""

LOCK_TIMEOUT: Final = 30.0
"""Seconds to wait for another process that is changing the file."""

_BOM: Final = b"\xef\xbb\xbf"

Changes = Mapping[Table, Mapping[str, object | None] | None]
OtherDocuments = Callable[[], AbstractContextManager[dict[str, bytes | None]]]
"""Yields the contents of other documents, None for those to remove; they are locked while its block runs."""


class _ReadFile(NamedTuple):
    """The file as it was read.

    Attributes:
        mark: its state (`mailslot.vault.documents.Documents.state`).
        sections: how many further sections were known by then.
        found: its contents, or why it cannot be used.
    """

    mark: object
    sections: int
    found: SettingsDocument | SettingsFileError


class SettingsFile:
    """The settings in one document of a home. All methods block for a moment: call them in a thread.

    Attributes:
        path: the file, which need not exist.
    """

    def __init__(self, home: Path | Home, sections: Iterable[Section] = ()) -> None:
        """Initialize it; nothing is read yet.

        Args:
            home: the home, or its folder.
            sections: further sections to allow, besides those of the device and the plugins.
        """
        self._home = home_of(home)
        self._documents = self._home.documents
        self.path: Final = self._documents.path(FILE_NAME)
        self._sections = {section.name: section for section in sections}
        self._cached: _ReadFile | None = None
        self._last_good: SettingsDocument | None = None
        self._reads = 0
        self._newest_read = 0
        self._lock = threading.Lock()
        """Held for moments only, and never while something is read: threads may wait for each other's databases."""

    def load(self) -> RecordSettings:
        """Return the settings of every record; those of the seven slots that are not in the file are empty.

        Raises:
            SettingsFileError: the file cannot be read, or contains faults, all of which are listed.
        """
        return RecordSettings(self._document().records)

    def current(self) -> CurrentSettings:
        """Return the settings in use: those in the file, or the last good ones if the file is now invalid.

        If nothing has changed, only the file's status is read.

        Raises:
            SettingsFileError: the file is invalid, and has not been valid since the process started.
        """
        try:
            document, fault = self._document(), ""
        except SettingsFileError as error:
            if self._last_good is None:
                raise
            document, fault = self._last_good, str(error)
        return CurrentSettings(RecordSettings(document.records), document.sections, document.groups, fault)

    def slots(self) -> SlotDirectory:
        """Return the seven slots and the accounts; only the seven slots if the file has never been valid."""
        try:
            return self.current().slots
        except SettingsFileError as error:
            return SlotDirectory(fault=error) if error.document is None else directory_of(error.document.records)

    def section(self, section: Section) -> dict[str, Any]:
        """Return the settings of a section, with defaults for those that are not set.

        Raises:
            SettingsFileError: as for `load`.
        """
        self._add_section(section)
        return section.with_defaults(self._document().sections.get(section.name, {}))

    def check(self, record: str, values: Mapping[str, object | None]) -> Settings:
        """Return a record's settings as they would be after a change, without changing anything.

        Raises:
            InputError: as for `change`.
        """
        return self.preview({("records", record): values}).records[record]

    def preview(self, changes: Changes) -> SettingsDocument:
        """Return the contents of the file as they would be after a change, without changing anything.

        Raises:
            InputError: as for `edit`.
        """
        return self._changed_document(self._document, self._parsed(changes))

    def load_for_change(self) -> RecordSettings:
        """Return what `load` returns, even if settings contradict each other, since a change may correct that.

        Raises:
            SettingsFileError: as for `load`, for any other fault.
        """
        return RecordSettings(_read_mendable(self._document)[0].records)

    def change(
        self,
        record: str,
        values: Mapping[str, object | None],
        *,
        before_write: Callable[[], None] | None = None,
        other_documents: OtherDocuments | None = None,
    ) -> Settings:
        """Change settings of a record and write the file; if any of them is not allowed, nothing changes.

        Args:
            record: the record.
            values: text or numbers, by key; None unsets one.
            before_write: called after all checks and before the file is written; if it raises, nothing changes.
            other_documents: called after that; returns the contents of other documents to be replaced in the same
                atomic change.

        Returns:
            the record's new settings.

        Raises:
            InputError: a key, a value or the combination is not allowed, or the file cannot be written.
        """
        return self.edit(
            {("records", record): values}, before_write=before_write, other_documents=other_documents
        ).records[record]

    def change_section(
        self, section: Section, values: Mapping[str, object | None], *, before_write: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """Change settings of a section, as `change` does for a record; return its settings with defaults."""
        self._add_section(section)
        return section.with_defaults(
            self.edit({(section.name,): values}, before_write=before_write).sections.get(section.name, {})
        )

    def edit(
        self,
        changes: Changes,
        *,
        before_write: Callable[[], None] | None = None,
        other_documents: OtherDocuments | None = None,
    ) -> SettingsDocument:
        """Change several tables in one atomic change.

        Args:
            changes: the values, as for `change`, by table: ``("records", "smtp")``, ``("device",)`` or ``("listeners",
                "scanners")``; None removes a table. The table of a new account must also contain ``protocol``.
            before_write: as for `change`.
            other_documents: as for `change`.

        Returns:
            the new contents of the file.

        Raises:
            InputError: as for `change`.
        """
        # This comes before the lock, which would create the home folder.
        parsed = self._parsed(changes)
        self._changed_document(self._document, parsed)
        with self._exclusive():
            self._finish_interrupted_change()
            text, newline = self._text()
            document = self._changed_document(partial(self._parse, text), parsed)
            if before_write is not None:
                before_write()
            octets = (
                self._octets(self._edit_text(text, parsed, document), newline)
                if any(values is None or values for values in parsed.values())
                else None
            )
            with nullcontext(dict[str, bytes | None]()) if other_documents is None else other_documents() as others:
                if octets is not None:
                    others[FILE_NAME] = octets
                self._write(others)
        return document

    def _parsed(self, changes: Changes) -> dict[Table, Values | None]:
        return {table: None if values is None else self._values(table, values) for table, values in changes.items()}

    def _values(self, table: Table, values: Mapping[str, object | None]) -> Values:
        if table[0] == "records":
            protocol = self._protocol(table[1], values)
            return {
                key: parse_value({"protocol": PROTOCOL_KEY}, key, value)
                if key == "protocol" and is_account(table[1])
                else parse_setting(key, value, protocol)
                for key, value in values.items()
            }
        if table[0] in GROUPS:
            return {key: parse_new_value(GROUPS[table[0]].keys, key, value) for key, value in values.items()}
        section = self._find(table[0])
        return {
            key: parse_new_value({} if section is None else section.keys, key, value) for key, value in values.items()
        }

    def _protocol(self, record: str, values: Mapping[str, object | None]) -> Protocol:
        """Return the protocol of a record, which may be a new account."""
        known = self.slots().protocols
        entered = values.get("protocol") if is_account(record) else None
        wanted: Protocol | None = (
            None if entered is None else protocol_from(parse_value({"protocol": PROTOCOL_KEY}, "protocol", entered))
        )
        found = known.get(record) or wanted
        if found is None:
            raise InputError(f"There is no record {record!r}.", stage="resolve")
        if wanted not in {None, found}:
            raise InputError(
                f"{record} is for {protocol_text(found).upper()}, and stays so: remove it first, and add it anew.",
                stage="resolve",
                key="protocol",
            )
        return found

    def _changed_document(
        self, read: Callable[[], SettingsDocument], changes: Mapping[Table, Values | None]
    ) -> SettingsDocument:
        """Return the settings after a change; a fault that was there before must be corrected by it."""
        before, fault = _read_mendable(read)
        document = apply_changes(before, changes)
        try:
            check_document(document)
        except InputError as error:
            raise fault or error from None
        return document

    def _edit_text(self, text: str, changes: Mapping[Table, Values | None], expected: SettingsDocument) -> str:
        # Importing tomlkit takes a while, and reading the settings does not need it.
        from mailslot.slots.toml_edit import edit_toml  # noqa: PLC0415

        new = edit_toml(text, changes)
        try:
            proven = new is not None and _is_same(self._parse(new), expected)
        except SettingsFileError:
            proven = False
        # The file belongs to a person, so the edited text is parsed and compared before it is written.
        if new is None or not proven:
            raise SettingsFileError(
                f"{self.path} is written in a way that only a person can change: change it by hand."
            )
        return new

    def _document(self) -> SettingsDocument:
        """Return the file's document, parsed again only if it may have changed."""
        self._finish_interrupted_change()
        with self._lock:
            self._reads += 1
            number, sections, cached = self._reads, len(self._sections), self._cached
        mark = self._documents.state(FILE_NAME)
        found: SettingsDocument | SettingsFileError
        if cached is not None and mark is not None and (cached.mark, cached.sections) == (mark, sections):
            found = cached.found
        else:
            try:
                found = self._parse(self._text()[0])
            except SettingsFileError as error:
                found = error
            self._keep(number, _ReadFile(mark, sections, found))
        if isinstance(found, SettingsFileError):
            raise SettingsFileError(str(found), faults=found.faults, detail=found.detail, document=found.document)
        return found

    def _keep(self, number: int, read: _ReadFile) -> None:
        """Keep what was read, unless a read that began later has ended already."""
        with self._lock:
            if number < self._newest_read:
                return
            self._newest_read, self._cached = number, read
            if not isinstance(read.found, SettingsFileError):
                self._last_good = read.found

    def version(self) -> object:
        """Return a value that changes whenever the file is written; None if there is none."""
        return self._documents.version(FILE_NAME)

    def modified_at(self) -> float:
        """Return when the file was written last, in seconds since 1970; 0.0 if there is none."""
        return self._documents.modified_at(FILE_NAME)

    def _text(self) -> tuple[str, str]:
        """Return the file's text with LF line ends, and the line end that the file uses."""
        try:
            octets = (self._documents.read(FILE_NAME, MAX_OCTETS) or b"").removeprefix(_BOM)
        except OSError as error:
            reason = f"it is larger than {MAX_OCTETS} octets" if error.errno == errno.EFBIG else error.strerror
            raise SettingsFileError(f"{self.path} cannot be read: {reason}.", detail=str(error)) from error
        try:
            text = octets.decode("utf-8")
        except UnicodeDecodeError as error:
            line = octets.count(b"\n", 0, error.start) + 1
            raise SettingsFileError(f"{self.path}:{line}: this is not UTF-8.", detail=str(error)) from error
        return text.replace("\r\n", "\n"), "\r\n" if "\r\n" in text else "\n"

    def _parse(self, text: str) -> SettingsDocument:
        return parse_settings_document(text, str(self.path), self._find)

    def _add_section(self, section: Section) -> None:
        if self._find(section.name) is None:
            # What is cached was parsed without it.
            with self._lock:
                self._sections = {**self._sections, section.name: section}

    def _find(self, name: str) -> Section | None:
        return self._sections.get(name) or find_section(name)

    def _finish_interrupted_change(self) -> None:
        """Finish a change of settings and secrets that a dead process has left unfinished."""
        try:
            self._documents.recover_if_needed()
        except VaultError as error:
            raise SettingsFileError(f"{self.path} cannot be read: {error}", detail=error.detail) from error

    def _octets(self, text: str, newline: str) -> bytes:
        octets = text.replace("\n", newline).encode()
        if len(octets) > MAX_OCTETS:
            # A larger file could not be read again.
            raise SettingsFileError(f"{self.path} cannot be written: it would be larger than {MAX_OCTETS} octets.")
        return octets

    def _write(self, contents: Mapping[str, bytes | None]) -> None:
        try:
            self._documents.replace(contents)
        except OSError as error:
            raise SettingsFileError(f"{self.path} cannot be written: {error.strerror}.", detail=str(error)) from error

    @contextmanager
    def _exclusive(self) -> Generator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(self._home.blocking_lock("settings", timeout=LOCK_TIMEOUT))
            except VaultError as error:
                reason, cause = str(error), error.__cause__
                if error.cause == "token_store_busy":
                    reason = "another process is changing it"
                elif isinstance(cause, OSError):
                    reason = reason_of(cause)
                raise SettingsFileError(f"{self.path} cannot be changed: {reason}.", detail=error.detail) from error
            yield


def _read_mendable(read: Callable[[], SettingsDocument]) -> tuple[SettingsDocument, SettingsFileError | None]:
    """Return a document, and its fault if a change of settings can correct it."""
    try:
        return read(), None
    except SettingsFileError as error:
        if error.document is None:
            raise
        return error.document, error


def _is_same(one: SettingsDocument, other: SettingsDocument) -> bool:
    return one.records == other.records and _set_values(one) == _set_values(other) and one.groups == other.groups


def _set_values(document: SettingsDocument) -> dict[str, Mapping[str, Any]]:
    return {name: values for name, values in document.sections.items() if values}
