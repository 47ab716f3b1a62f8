"""Reading ``mailslot.toml``: again only when it has changed, and only what its writer has finished.

Many programs empty a file before they write it, and write it in pieces. An empty file is valid, and so is one that ends
between two lines, but a process that read it just then would refuse devices or drop mail. So:

- Where there were settings, an empty or missing file counts as one with an error: the settings stay in use.
  `SettingsFile` itself never writes an empty file.
- Where some settings are missing, the file is read again a moment later, until it has not changed in between.
- A process that has read no settings before waits for a file that was emptied just now.

Only the last rule compares clocks. If the clock of a file server differs, the process does not wait.
"""

from __future__ import annotations

import errno
import threading
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Final, NamedTuple

from mailslot.slots.section import find_section
from mailslot.slots.settings import Settings
from mailslot.slots.settings_document import SettingsDocument, SettingsFileError, parse_settings_document
from mailslot.vault.errors import VaultError, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mailslot.home.home import Home
    from mailslot.slots.section import Section

FILE_NAME: Final = "mailslot.toml"

MAX_OCTETS: Final = 1024 * 1024
"""The maximum size of the file, in octets."""

_BOM: Final = b"\xef\xbb\xbf"

_MOMENT: Final = 0.25
"""Seconds between two reads of a file that somebody may be writing."""

_MAX_READS: Final = 20
"""Reads of a file that changes all the time, before it is taken as it is."""

_EMPTIED_JUST_NOW: Final = 2.0
"""Seconds since a file was changed for which, while it is empty, somebody may be about to write it."""


class SettingsText(NamedTuple):
    """The file as it was read.

    Attributes:
        text: its text, with LF line ends.
        newline: the line end that it uses.
        found: what it says, or why it cannot be used.
    """

    text: str
    newline: str
    found: SettingsDocument | SettingsFileError

    def document(self) -> SettingsDocument:
        """Return what it says.

        Raises:
            SettingsFileError: it cannot be used.
        """
        return _document_or_error(self.found)


class _CachedFile(NamedTuple):
    """What is known of the file as long as it does not change.

    Attributes:
        mark: its state (`mailslot.vault.documents.Documents.state`).
        sections: how many further sections were known by then.
        found: what it says, or why it cannot be used.
    """

    mark: object
    sections: int
    found: SettingsDocument | SettingsFileError


class SettingsReader:
    """Reads the settings of a home. All methods block: call them in a thread.

    Args:
        home: the home.
        sections: further sections to allow, besides those of the device and the plugins.
        sleep: waits some seconds; for tests.

    Attributes:
        path: the file, which need not exist.
        last_good: the settings that could be used last; None if there were none yet.
    """

    def __init__(
        self, home: Home, sections: Iterable[Section] = (), *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._documents = home.documents
        self._is_file = home.is_local
        self._sleep = sleep
        self._sections = {section.name: section for section in sections}
        self._cached: _CachedFile | None = None
        self._reads = 0
        self._newest_read = 0
        self._lock = threading.Lock()
        """Held for moments only, and never while something is read: threads may wait for each other's databases."""
        self.path: Final = self._documents.path(FILE_NAME)
        self.last_good: SettingsDocument | None = None

    def document(self) -> SettingsDocument:
        """Return the file's document, parsed again only if it may have changed.

        Raises:
            SettingsFileError: it cannot be used.
        """
        self.finish_interrupted_change()
        with self._lock:
            self._reads += 1
            number, sections, cached = self._reads, len(self._sections), self._cached
        mark = self._documents.state(FILE_NAME)
        found: SettingsDocument | SettingsFileError
        if cached is not None and mark is not None and (cached.mark, cached.sections) == (mark, sections):
            found = cached.found
        else:
            try:
                found = self.read().found
            except SettingsFileError as error:
                if isinstance(error.__cause__, OSError):
                    # It may be readable a moment later without a change.
                    raise
                found = error
            self._keep(number, _CachedFile(mark, sections, found))
        return _document_or_error(found)

    def adopt(self, document: SettingsDocument) -> None:
        """Take over what this process has written: none of it is missing because somebody else is writing."""
        with self._lock:
            self._reads += 1
            self._newest_read, self._cached, self.last_good = self._reads, None, document

    def read(self) -> SettingsText:
        """Read the file, whether or not it has changed, once nobody is writing it.

        Raises:
            SettingsFileError: it cannot be read.
        """
        octets = self._octets()
        contents = self._parsed(octets)
        for _ in range(_MAX_READS if self._is_file else 0):
            if not self._lacks_settings(contents.found):
                break
            self._sleep(_MOMENT)
            before, octets = octets, self._octets()
            if octets == before:
                break
            contents = self._parsed(octets)
        return contents

    def parse(self, text: str) -> SettingsDocument:
        """Return what a text says, with LF line ends.

        Raises:
            SettingsFileError: something in it is not allowed.
        """
        return parse_settings_document(text, str(self.path), self.find)

    def add_section(self, section: Section) -> None:
        """Allow a further section."""
        if self.find(section.name) is None:
            # What is cached was parsed without it.
            with self._lock:
                self._sections = {**self._sections, section.name: section}

    def find(self, name: str) -> Section | None:
        """Return the section with a name; None if there is none."""
        return self._sections.get(name) or find_section(name)

    def finish_interrupted_change(self) -> None:
        """Finish a change of settings and secrets that a dead process has left unfinished.

        Raises:
            SettingsFileError: this is not possible now.
        """
        try:
            self._documents.recover_if_needed()
        except VaultError as error:
            raise SettingsFileError(f"{self.path} cannot be read: {error}", detail=error.detail) from error

    def _keep(self, number: int, read: _CachedFile) -> None:
        """Keep what was read, unless a read that began later has ended already."""
        with self._lock:
            if number < self._newest_read:
                return
            self._newest_read, self._cached = number, read
            if not isinstance(read.found, SettingsFileError):
                self.last_good = read.found

    def _octets(self) -> bytes:
        """Return the file's content; none if there is no file, and there were no settings."""
        octets = self._read_octets()
        for _ in range(_MAX_READS):
            if octets != b"" or self._had_settings() or not self._was_changed_just_now():
                break
            self._sleep(_MOMENT)
            octets = self._read_octets()
        if not octets and self._had_settings():
            raise SettingsFileError(
                f"{self.path} is {'gone' if octets is None else 'empty'} now; the settings that it had stay in use. "
                "Put them back, or restart mailslot to go on without them."
            )
        return octets or b""

    def _had_settings(self) -> bool:
        return self._is_file and self.last_good is not None and any(_set_keys(self.last_good))

    def _was_changed_just_now(self) -> bool:
        age = time.time() - self._documents.modified_at(FILE_NAME)
        return self._is_file and abs(age) < _EMPTIED_JUST_NOW

    def _lacks_settings(self, found: SettingsDocument | SettingsFileError) -> bool:
        """Whether a setting that is in use is not set in a document."""
        before = self.last_good
        if before is None or isinstance(found, SettingsFileError) or found == before:
            return False
        return not set(_set_keys(before)) <= set(_set_keys(found))

    def _read_octets(self) -> bytes | None:
        try:
            return self._documents.read(FILE_NAME, MAX_OCTETS)
        except OSError as error:
            reason = f"it is larger than {MAX_OCTETS} octets" if error.errno == errno.EFBIG else reason_of(error)
            raise SettingsFileError(f"{self.path} cannot be read: {reason}.", detail=str(error)) from error

    def _parsed(self, octets: bytes) -> SettingsText:
        octets = octets.removeprefix(_BOM)
        try:
            text = octets.decode("utf-8")
        except UnicodeDecodeError as error:
            line = octets.count(b"\n", 0, error.start) + 1
            raise SettingsFileError(f"{self.path}:{line}: this is not UTF-8.", detail=str(error)) from error
        newline = "\r\n" if "\r\n" in text else "\n"
        text = text.replace("\r\n", "\n")
        try:
            return SettingsText(text, newline, self.parse(text))
        except SettingsFileError as error:
            return SettingsText(text, newline, error)


def _document_or_error(found: SettingsDocument | SettingsFileError) -> SettingsDocument:
    if isinstance(found, SettingsFileError):
        # It may be raised several times, each with a traceback of its own.
        raise SettingsFileError(str(found), faults=found.faults, detail=found.detail, document=found.document)
    return found


def _set_keys(document: SettingsDocument) -> Iterator[tuple[str, ...]]:
    """Yield the names of the settings that are set, and those of accounts, listeners and devices."""
    for record, settings in document.records.items():
        if settings.protocol is not None:
            yield "records", record
        for field in fields(Settings):
            if getattr(settings, field.name) != field.default:
                yield "records", record, field.name
    for section, values in document.sections.items():
        yield from ((section, key) for key in values)
    for group, tables in document.groups.items():
        for name, values in tables.items():
            yield group, name
            yield from ((group, name, key) for key in values)
