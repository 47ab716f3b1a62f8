"""A short-lived cache of a device's settings and secrets, for a worker, which reads them many times per task.

They are read in the transaction that begins a task, and again after `FRESH_FOR` seconds, after each taking of a lease,
and after each change by this process. So the holder of a lease reads the current values.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot.fleet.postgres.seals import WITH_SEALS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg.rows import DictRow

    from mailslot.fleet.postgres.rows import DeviceRows

FRESH_FOR: Final = 2.0
"""Seconds, the same as the service of a device in a folder may take to notice a change."""

_IS_ONE: Final = "(documents.name = 'mailslot.toml' OR starts_with(documents.name, 'vault/'))"
_VERSION: Final = f"SELECT count(*), max(version) FROM documents WHERE device = %(device)s AND {_IS_ONE}"
_ALL: Final = f"{WITH_SEALS} AND {_IS_ONE}"


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings and secrets, the latter encrypted.

    Attributes:
        version: changes whenever one of them does.
        documents: the documents with their versions and seals, by name.
    """

    version: object
    documents: Mapping[str, DictRow] = field(repr=False)


def is_configuration(name: str) -> bool:
    """Return whether a document contains settings or secrets."""
    return name == "mailslot.toml" or name.startswith("vault/")


def read_version(rows: DeviceRows) -> object:
    """Return a value that changes with every change of a setting or secret."""
    return rows.tuples(_VERSION)


class ConfigurationCache:
    """The cached configuration. It is thread-safe."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._known: Configuration | None = None
        self._until = 0.0
        self._doubts = 0
        self._reads = 0
        self._newest_read = 0

    @property
    def fresh(self) -> Configuration | None:
        """The cached configuration; None if it must be read again."""
        with self._mutex:
            return self._known if time.monotonic() < self._until else None

    def doubt(self) -> None:
        """Invalidate the cache, since the configuration may have changed."""
        with self._mutex:
            self._doubts += 1
            self._until = 0.0

    def read(self, rows: DeviceRows) -> Configuration:
        """Read changed documents, in a transaction with a snapshot or a write lock."""
        with self._mutex:
            self._reads += 1
            number, known, doubts = self._reads, self._known, self._doubts
        began = time.monotonic()
        version = read_version(rows)
        if known is None or known.version != version:
            known = Configuration(version, {row["name"]: row for row in rows.all(_ALL)})
        with self._mutex:
            # A slow thread must not replace newer values with those that it read before a change.
            if doubts == self._doubts and number > self._newest_read:
                self._newest_read, self._known, self._until = number, known, began + FRESH_FOR
        return known
