"""The stored entries of the address book: a document of the home, beside the settings.

People have typed them, so they are not in the spool's database, which is rebuilt if it is damaged.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.spool.errors import SpoolError, reading, unreadable_error, writing
from mailslot.vault.errors import VaultError
from mailslot_plugins.addressbook.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Generator

    from mailslot.home.home import Home

NAME: Final = "addressbook.json"
"""The name of the document: a list of entries in JSON, one a line."""

MAX_OCTETS: Final = 16 * 1024 * 1024
"""The most octets of the document, which is ten thousand entries with a dozen addresses each."""

_LOCK: Final = "addressbook"
_WAIT: Final = 10.0
"""Seconds to wait for another process that is changing it."""


class StoredBook:
    """The entries of the address book of a home. All methods block for a moment: call them in a thread.

    Args:
        home: the home.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = home.documents.path(NAME)

    def read(self) -> dict[str, Entry]:
        """Return the entries by name.

        Raises:
            SpoolError: they cannot be read.
        """
        with reading(self._path):
            octets = self._home.documents.read(NAME, MAX_OCTETS)
        if octets is None:
            return {}
        try:
            documents: list[dict[str, Any]] = json.loads(octets)
            return {entry.name: entry for entry in map(Entry.from_document, documents)}
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise unreadable_error(
                f"{self._path} is damaged: remove it, and import the address book again.", type(error).__name__
            ) from error

    @contextmanager
    def changed(self) -> Generator[dict[str, Entry]]:
        """Yield the entries for changing, and store them after the block, unless it raises.

        No other thread or process can change them meanwhile.

        Raises:
            InputError: they are too long.
            SpoolError: they cannot be read or written, or another process does not finish its change.
        """
        try:
            with self._home.blocking_lock(_LOCK, timeout=_WAIT):
                entries = self.read()
                yield entries
                octets = _dump(entries)
                with writing(self._path):
                    self._home.documents.replace({NAME: octets})
        except VaultError as error:
            cause = "spool_busy" if error.cause == "token_store_busy" else "spool_unwritable"
            sentence = f"The address book cannot be changed: {error}"
            raise SpoolError(sentence, cause=cause, retryable=error.retryable, detail=error.detail) from error


def _dump(entries: dict[str, Entry]) -> bytes:
    lines = [json.dumps(entry.document()) for _, entry in sorted(entries.items())]
    octets = ("[\n" + ",\n".join(lines) + "\n]\n").encode()
    if len(octets) > MAX_OCTETS:
        raise InputError(
            f"The address book would have {len(octets)} octets; {MAX_OCTETS} are possible.", stage="envelope"
        )
    return octets
