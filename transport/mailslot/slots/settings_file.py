"""The file ``mailslot.toml``: what is set in it, and its changes, which lose no comments and are written atomically."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.home.folder import home_of
from mailslot.slots.gateway.table_groups import GROUPS
from mailslot.slots.keys import parse_new_value, parse_value
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
from mailslot.slots.settings_document import CurrentSettings, SettingsFileError
from mailslot.slots.settings_reader import FILE_NAME, MAX_OCTETS, SettingsReader
from mailslot.slots.slot import SlotDirectory, is_account
from mailslot.vault.errors import VaultError, reason_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from mailslot.home.home import Home
    from mailslot.slots.section import Section
    from mailslot.slots.settings_document import SettingsDocument
    from mailslot.slots.slot import Protocol

LOCK_TIMEOUT: Final = 30.0
"""Seconds to wait for another process that is changing the file."""

Changes = Mapping[Table, Mapping[str, object | None] | None]
OtherDocuments = Callable[[], AbstractContextManager[dict[str, bytes | None]]]
"""Yields the contents of other documents, None for those to remove; they are locked while its block runs."""


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
        self._reader = SettingsReader(self._home, sections)
        self.path: Final = self._reader.path

    def load(self) -> RecordSettings:
        """Return the settings of every record; those of the seven slots that are not in the file are empty.

        Raises:
            SettingsFileError: the file cannot be read, or contains faults, all of which are listed.
        """
        return RecordSettings(self._reader.document().records)

    def current(self) -> CurrentSettings:
        """Return the settings in use: those in the file, or the last good ones if the file is now invalid or gone.

        If nothing has changed, only the file's status is read.

        Raises:
            SettingsFileError: the file is invalid, and has not been valid since the process started.
        """
        try:
            document, fault = self._reader.document(), ""
        except SettingsFileError as error:
            if self._reader.last_good is None:
                raise
            document, fault = self._reader.last_good, str(error)
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
        self._reader.add_section(section)
        return section.with_defaults(self._reader.document().sections.get(section.name, {}))

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
        return self._changed_document(self._reader.document, self._parsed(changes))

    def load_for_change(self) -> RecordSettings:
        """Return what `load` returns, even if settings contradict each other, since a change may correct that.

        Raises:
            SettingsFileError: as for `load`, for any other fault.
        """
        return RecordSettings(_read_mendable(self._reader.document)[0].records)

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
        self._reader.add_section(section)
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
        self._changed_document(self._reader.document, parsed)
        with self._exclusive():
            self._reader.finish_interrupted_change()
            # Other programs take no lock.
            version = self.version() if self._home.is_local else None
            contents = self._reader.read()
            document = self._changed_document(contents.document, parsed)
            if before_write is not None:
                before_write()
            octets = (
                self._octets(self._edit_text(contents.text, parsed, document), contents.newline)
                if any(values is None or values for values in parsed.values())
                else None
            )
            with nullcontext(dict[str, bytes | None]()) if other_documents is None else other_documents() as others:
                if octets is not None:
                    if self._home.is_local and self.version() != version:
                        raise SettingsFileError(
                            f"{self.path} was changed by another program just now, so nothing was written: try again."
                        )
                    others[FILE_NAME] = octets
                self._write(others)
            if octets is not None:
                self._reader.adopt(document)
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
        section = self._reader.find(table[0])
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
                f"{record} is for {protocol_text(found).upper()}, and its protocol cannot be changed: remove it, and "
                "add it again.",
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
            proven = new is not None and _is_same(self._reader.parse(new), expected)
        except SettingsFileError:
            proven = False
        # The file belongs to a person, so the edited text is parsed and compared before it is written.
        if new is None or not proven:
            raise SettingsFileError(
                f"{self.path} is written in a way that only a person can change: change it by hand."
            )
        return new

    def version(self) -> object:
        """Return a value that changes whenever the file is written; None if there is none."""
        return self._documents.version(FILE_NAME)

    def modified_at(self) -> float:
        """Return when the file was written last, in seconds since 1970; 0.0 if there is none."""
        return self._documents.modified_at(FILE_NAME)

    def _octets(self, text: str, newline: str) -> bytes:
        # A file without content could be one that somebody is about to write.
        octets = (text or "\n").replace("\n", newline).encode()
        if len(octets) > MAX_OCTETS:
            # A larger file could not be read again.
            raise SettingsFileError(f"{self.path} cannot be written: it would be larger than {MAX_OCTETS} octets.")
        return octets

    def _write(self, contents: Mapping[str, bytes | None]) -> None:
        try:
            self._documents.replace(contents)
        except OSError as error:
            raise SettingsFileError(f"{self.path} cannot be written: {reason_of(error)}.", detail=str(error)) from error

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
