"""Secrets at rest, by record and field.

Each record is one file, ``RECORD.json``, whose format is told in `mailslot.vault.record`. Whoever changes keys or
records is alone in doing so; whoever reads needs no lock. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.vault import durable
from mailslot.vault.errors import VaultError, reading, unreadable, writing
from mailslot.vault.record import Sealed, dump, parse, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mailslot.vault.keys import Key, KeyRing
    from mailslot.wire.secret import Secret

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_SUFFIX: Final = ".json"
_LARGEST_RECORD: Final = 1024 * 1024


class Vault:
    """The secrets in one folder.

    Names of records and fields are lower-case letters, digits, ``-`` and ``_``, at most 64 of them, beginning with
    a letter or digit. Every method may raise:

    - `InputError`: a name is none, or the secrets of the record are too long together (a file of 1 MiB).
    - `VaultError`, `token_store_unreadable`: a record is damaged, of another version, or encrypted with a key that is
      not there. It is left as it is.
    - `VaultError`, `token_store_unwritable` or `token_store_busy`: the disk did not take a change, or others were
      changing something for too long. What was there before still reads.

    Args:
        folder: the folder, made when it is first changed. A key ring has one vault only.
        keys: the key ring.
    """

    def __init__(self, folder: Path, keys: KeyRing) -> None:
        self._folder = folder
        self._keys = keys

    def read(self, record: str, field: str) -> Secret | None:
        """Return the value of a field; None where there is none."""
        _check(field)
        self._keys.journal.settle()
        octets = self._octets(record)
        while (sealed := self._parse(record, octets).get(field)) is not None:
            if (key := self._keys.find(sealed.key)) is not None:
                return self._unseal(sealed, key, record, field)
            # Another process may have moved the record to a new key, and dropped this one, in the meantime.
            before, octets = octets, self._octets(record)
            if octets == before:
                raise _key_missing(record, field, sealed)
        return None

    def fields(self, record: str) -> frozenset[str]:
        """Return the names of the fields that have a value; this needs no key."""
        self._keys.journal.settle()
        return frozenset(self._parse(record, self._octets(record)))

    def write(self, record: str, fields: Mapping[str, Secret | None]) -> None:
        """Set fields, and delete those whose value is None; the others stay. All of it happens, or nothing.

        It is on the disk once this returns. Fields that stay need not be readable.
        """
        with self.changed(record, fields) as contents:
            for path, octets in contents.items():
                _put(path, octets)

    def changed(
        self, record: str, fields: Mapping[str, Secret | None]
    ) -> AbstractContextManager[dict[Path, bytes | None]]:
        """Give what the record's file would hold after `write`, None for no file; nobody changes it in the block.

        For what is to change together with it, by `mailslot.vault.journal.Journal.replace`.
        """
        return self.all_changed({record: fields})

    @contextmanager
    def all_changed(self, changes: Mapping[str, Mapping[str, Secret | None]]) -> Generator[dict[Path, bytes | None]]:
        """Give what the files of several records would hold, as `changed` does; `changes` is by record."""
        for field in (field for fields in changes.values() for field in fields):
            _check(field)
        with self._changing():
            yield {self._path(record): self._after(record, fields) for record, fields in changes.items()}

    def _after(self, record: str, fields: Mapping[str, Secret | None]) -> bytes | None:
        values = {field: value for field, value in fields.items() if value is not None}
        held = self._parse(record, self._octets(record))
        new = {field: sealed for field, sealed in held.items() if field not in fields}
        if values:
            key = self._keys.newest()
            new |= {field: seal(value, key, record, field) for field, value in values.items()}
        return self._dumped(record, new)

    def delete(self, record: str) -> None:
        """Delete all fields of a record, even if it is damaged: for when a person says so."""
        path = self._path(record)
        with self._changing():
            durable.remove(path)

    def rotate(self) -> int:
        """Encrypt everything with the newest key, then drop the other keys from the home folder.

        What cannot be read is left as it is, and no key is dropped; the first such error is raised once all else is
        done. A crash leaves some values with the old key and some with the new one, and both keys.

        Returns:
            how many values were encrypted anew.
        """
        moved = 0
        failures: list[VaultError] = []
        with self._changing():
            newest = self._keys.newest()
            for record in self._records():
                try:
                    held = self._parse(record, self._octets(record))
                except VaultError as error:
                    failures.append(error)
                    continue
                new = dict(held)
                for field, sealed in held.items():
                    try:
                        new[field] = self._moved(sealed, newest, record, field)
                    except VaultError as error:
                        failures.append(error)
                if new != held:
                    _put(self._path(record), self._dumped(record, new))
                    moved += sum(new[field] != held[field] for field in held)
            if not failures:
                self._keys.retire()
        if failures:
            raise failures[0]
        return moved

    @contextmanager
    def _changing(self) -> Generator[None]:
        with self._keys.exclusive(), writing(self._folder):
            self._keys.journal.finish()
            durable.make_folder(self._folder)
            yield

    def _records(self) -> list[str]:
        with reading(self._folder):
            names = [path.name for path in self._folder.iterdir()]
        records = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
        return sorted(record for record in records if _NAME.fullmatch(record))

    def _path(self, record: str) -> Path:
        _check(record)
        return self._folder / f"{record}{_SUFFIX}"

    def _octets(self, record: str) -> bytes | None:
        path = self._path(record)
        with reading(path):
            return durable.read(path, _LARGEST_RECORD)

    def _parse(self, record: str, octets: bytes | None) -> dict[str, Sealed]:
        if octets is None:
            return {}
        try:
            return parse(octets)
        except ValueError as error:
            raise self._damaged(record, error) from error

    def _unseal(self, sealed: Sealed, key: Key, record: str, field: str) -> Secret:
        try:
            return unseal(sealed, key, record, field)
        except ValueError as error:
            raise self._damaged(record, error) from error

    def _moved(self, sealed: Sealed, newest: Key, record: str, field: str) -> Sealed:
        key = self._keys.find(sealed.key)
        if key is None:
            raise _key_missing(record, field, sealed)
        value = self._unseal(sealed, key, record, field)
        return sealed if key == newest else seal(value, newest, record, field)

    def _dumped(self, record: str, fields: Mapping[str, Sealed]) -> bytes | None:
        if not fields:
            return None
        octets = dump(fields)
        if len(octets) > _LARGEST_RECORD:
            raise InputError(f"The secrets of {record} are too long.", stage="token", detail=f"{len(octets)} octets")
        return octets

    def _damaged(self, record: str, reason: ValueError) -> VaultError:
        return unreadable(
            f"The secrets of {record} are damaged, or were kept by another version of mailslot: "
            "delete the token and obtain it again.",
            f"{self._path(record)}: {reason}",
        )


def _put(path: Path, octets: bytes | None) -> None:
    if octets is None:
        durable.remove(path)
    else:
        durable.replace(path, octets)


def _key_missing(record: str, field: str, sealed: Sealed) -> VaultError:
    return unreadable(
        f"The key to the secrets of {record} is not here: put it back, or delete the token and obtain it again.",
        f"the field {field} needs the key {sealed.key!a}",
    )


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name[:80]!r} cannot name a record or field: use lower-case letters, digits, - and _.", stage="token"
        )
