"""The directory of a device: searches, whose results are cached for a while."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal
from weakref import WeakKeyDictionary, proxy

import anyio
from anyio.to_thread import run_sync

from mailslot_plugins.addressbook.book import normalized
from mailslot_plugins.addressbook.directory.directory_error import DirectoryError
from mailslot_plugins.addressbook.directory.entries import entry_of
from mailslot_plugins.addressbook.directory.errors import missing_package_error
from mailslot_plugins.addressbook.directory.password import read_password
from mailslot_plugins.addressbook.directory.source import source_of
from mailslot_plugins.addressbook.section import SECTION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.plugin import Device
    from mailslot_plugins.addressbook.directory.source import Source
    from mailslot_plugins.addressbook.entry import Entry

MIN_TEXT: Final = 2
"""Shorter texts are not searched for."""

_SAMPLE: Final = 10
"""Entries that a test requests, since some of them may have no usable address."""

_MAX_KEPT: Final = 100
_MAX_CONNECTIONS: Final = 4
_RETRY_AFTER: Final = 30.0
"""Seconds after which a directory that was not reached is tried again."""

Kind = Literal["search", "name", "address", "any"]


@dataclass(frozen=True, slots=True)
class DirectoryAnswer:
    """The entries that a search found.

    Attributes:
        entries: the entries, by name.
        is_complete: whether there are no further matches.
    """

    entries: Sequence[Entry] = ()
    is_complete: bool = True


class Directory:
    """The directory of a device, made by `directory_of`.

    Every search may raise `DirectoryError`: the directory was not reached or refused, or the settings cannot be used.

    Args:
        device: the device.
    """

    def __init__(self, device: Device) -> None:
        # A weak reference, since the device is the key under which its directory is kept.
        self._device: Device = proxy(device)
        self._kept: OrderedDict[tuple[Source, Kind, str], tuple[float, DirectoryAnswer]] = OrderedDict()
        self._failure: tuple[Source, float, DirectoryError] | None = None
        self._connections = anyio.Semaphore(_MAX_CONNECTIONS)

    @property
    def source(self) -> Source | None:
        """The directory's server and schema; None if no directory is set."""
        return source_of(self._device.settings(SECTION))

    async def search(self, text: str) -> DirectoryAnswer:
        """Return the entries in which every word of a text is the beginning of a name or an address."""
        wanted = " ".join(text.split()).removeprefix("@")
        return await self._ask("search", wanted) if len(wanted) >= MIN_TEXT else DirectoryAnswer()

    async def find_name(self, name: str) -> Entry | None:
        """Return the entry with a one-touch name; None if there is none."""
        answer = await self._ask("name", name)
        return next((entry for entry in answer.entries if entry.name == name), None)

    async def has_address(self, address: str) -> bool:
        """Whether an entry has an address. A fax address is found only in entries that were searched by name before."""
        wanted = normalized(address)
        if any(wanted in _addresses(answer) for answer in self._answers_about_names()):
            return True
        return wanted in _addresses(await self._ask("address", address))

    async def test(self) -> DirectoryAnswer:
        """Search for any entry, without the cache."""
        self._failure = None
        return await self._ask("any", "", max_results=_SAMPLE)

    async def _ask(self, kind: Kind, text: str, max_results: int = 0) -> DirectoryAnswer:
        source = self.source
        if source is None:
            return DirectoryAnswer()
        key = (source, kind, text.casefold())
        if kind != "any" and (kept := self._fresh(key)) is not None:
            return kept
        self._check_failure(source)
        if find_spec("sansldap") is None:
            raise missing_package_error(source)
        from mailslot_plugins.addressbook.directory.client import ask  # noqa: PLC0415 - it needs an extra
        from mailslot_plugins.addressbook.directory.query import query  # noqa: PLC0415 - likewise

        password = await run_sync(read_password, self._device.records.vault, source)
        async with self._connections:
            try:
                raw = await ask(source, password, query(source, kind, text), max_results or source.max_results)
            except DirectoryError as error:
                if error.retryable:
                    self._failure = (source, self._device.monotonic() + _RETRY_AFTER, error)
                raise
        entries = [entry for values in raw.entries if (entry := entry_of(source, values)) is not None]
        answer = DirectoryAnswer(sorted(entries, key=lambda entry: entry.name), raw.is_complete)
        self._keep(key, answer)
        return answer

    def _fresh(self, key: tuple[Source, Kind, str]) -> DirectoryAnswer | None:
        kept = self._kept.get(key)
        return kept[1] if kept is not None and self._is_fresh(key[0], kept[0]) else None

    def _is_fresh(self, source: Source, since: float) -> bool:
        return self._device.monotonic() - since < source.keep_for

    def _answers_about_names(self) -> list[DirectoryAnswer]:
        now = self.source
        return [
            answer
            for (source, kind, _), (since, answer) in self._kept.items()
            if kind == "name" and source == now and self._is_fresh(source, since)
        ]

    def _keep(self, key: tuple[Source, Kind, str], answer: DirectoryAnswer) -> None:
        self._kept[key] = (self._device.monotonic(), answer)
        self._kept.move_to_end(key)
        while len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)

    def _check_failure(self, source: Source) -> None:
        """Raise the error of a recent search again, so that nobody waits again for a directory that is not reached."""
        if self._failure is not None and self._failure[0] == source and self._device.monotonic() < self._failure[1]:
            error = self._failure[2]
            raise DirectoryError(
                str(error), stage=error.stage, cause=error.cause, retryable=error.retryable, detail=error.detail
            )


def _addresses(answer: DirectoryAnswer) -> set[str]:
    return {normalized(each) for entry in answer.entries for each in (*entry.addresses, *entry.fax_addresses)}


_directories: WeakKeyDictionary[Device, Directory] = WeakKeyDictionary()


def directory_of(device: Device) -> Directory:
    """Return the directory of a device; it is the same object each time, with its cache."""
    if device not in _directories:
        _directories[device] = Directory(device)
    return _directories[device]
