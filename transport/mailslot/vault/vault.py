"""Encrypted secrets, by record and field.

Each record is a document, ``vault/RECORD.json``, in the format of `mailslot.vault.record`. Changes to keys and
records hold a lock; reading needs none. Every function blocks: call it in a thread.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from mailslot.errors import InputError
from mailslot.vault.errors import VaultError, reading, unreadable_error, writing
from mailslot.vault.record import SealedValue, dump, parse, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mailslot.vault.documents import Documents
    from mailslot.vault.keys import Key, Keys
    from mailslot.wire.secret import Secret

_FIELD: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_RECORD: Final = re.compile(r"(?:(?:account|device)\.)?[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_FOLDER: Final = "vault"
_SUFFIX: Final = ".json"
_MAX_RECORD_SIZE: Final = 1024 * 1024


class SharedSecrets(Protocol):
    """Secrets that several devices share. Every method blocks."""

    def read(self, name: str) -> Secret | None:
        """Return a secret; None if there is none.

        Raises:
            VaultError: `token_store_unreadable`.
        """
        ...


class Vault:
    """The secrets of one device.

    Names of records and fields are lower-case letters, digits, ``-`` and ``_``, at most 64 of them, beginning with
    a letter or digit; ``account.`` or ``device.`` may stand before a record's. Every method may raise:

    - `InputError`: a name is invalid, or the secrets of the record are too long together (a file of 1 MiB).
    - `VaultError`, `token_store_unreadable`: a record is damaged, of another version, or encrypted with a missing key.
      It is left unchanged.
    - `VaultError`, `token_store_unwritable` or `token_store_busy`: the change could not be written, or another change
      took too long. The old contents can still be read.

    Args:
        documents: where they are kept.
        keys: the keys.
        shared: what this device shares with others; None if nothing.

    Attributes:
        shared: the same.
    """

    def __init__(self, documents: Documents, keys: Keys, shared: SharedSecrets | None = None) -> None:
        self.shared: Final = shared
        self._documents = documents
        self._keys = keys

    def read(self, record: str, field: str) -> Secret | None:
        """Return the value of a field; None if it has none."""
        found = self._find(record, field)
        return None if found is None else self._unseal(*found, record, field)

    def has(self, record: str, field: str) -> bool:
        """Whether a field has a value, and its key is here, without decrypting, which loads 4 MB of code."""
        return self._find(record, field) is not None

    def _find(self, record: str, field: str) -> tuple[SealedValue, Key] | None:
        """Return the encrypted value of a field with its key; None if it has none."""
        _check_name(field, _FIELD)
        self._documents.recover_if_needed()
        octets = self._read_file(record)
        while (sealed := self._parse(record, octets).get(field)) is not None:
            if (key := self._keys.find(sealed.key)) is not None:
                return sealed, key
            # Another process may have re-encrypted the record with a new key and dropped this one meanwhile.
            before, octets = octets, self._read_file(record)
            if octets == before:
                raise _missing_key_error(record, field, sealed)
        return None

    def fields(self, record: str) -> frozenset[str]:
        """Return the names of the fields that have a value, without decrypting."""
        self._documents.recover_if_needed()
        return frozenset(self._parse(record, self._read_file(record)))

    def version(self, record: str) -> object:
        """Return a value that changes whenever a field of the record does, in whatever process."""
        self._documents.recover_if_needed()
        return self._documents.version(_name(record))

    def version_at_once(self, record: str) -> object:
        """Return the `version` without blocking; None if that may not be possible, or if there is no such document."""
        return None if self._documents.may_wait() else self._documents.version(_name(record))

    def mark(self, record: str, field: str) -> str:
        """Return a text that changes whenever a field is set, without decrypting; empty if it has no value."""
        self._documents.recover_if_needed()
        sealed = self._parse(record, self._read_file(record)).get(field)
        # A nonce is random, used once, and no secret.
        return "" if sealed is None else sealed.nonce.hex()

    def write(self, record: str, fields: Mapping[str, Secret | None]) -> None:
        """Set fields atomically, and delete those whose value is None; the others are kept, even if unreadable.

        The change is on the disk once this returns.
        """
        with self.prepare_change(record, fields) as contents:
            self._documents.replace(contents)

    def prepare_change(
        self, record: str, fields: Mapping[str, Secret | None]
    ) -> AbstractContextManager[dict[str, bytes | None]]:
        """Return the contents of the record's document after `write`, as a context manager that holds the lock.

        They are by name, None for no document. `mailslot.vault.documents.Documents.replace` can then write them
        together with other documents.
        """
        return self.prepare_changes({record: fields})

    @contextmanager
    def prepare_changes(self, changes: Mapping[str, Mapping[str, Secret | None]]) -> Generator[dict[str, bytes | None]]:
        """Do what `prepare_change` does for several records; `changes` is by record."""
        for field in (field for fields in changes.values() for field in fields):
            _check_name(field, _FIELD)
        with self._exclusive_change():
            yield {_name(record): self._contents_after(record, fields) for record, fields in changes.items()}

    def _contents_after(self, record: str, fields: Mapping[str, Secret | None]) -> bytes | None:
        values = {field: value for field, value in fields.items() if value is not None}
        held = self._parse(record, self._read_file(record))
        new = {field: sealed for field, sealed in held.items() if field not in fields}
        if values:
            key = self._keys.newest()
            new |= {field: seal(value, key, record, field, self._keys.scope) for field, value in values.items()}
        return self._dump(record, new)

    def delete(self, record: str) -> None:
        """Delete all fields of a record, even if it is damaged, at a person's request."""
        name = _name(record)
        with self._exclusive_change():
            self._documents.replace({name: None})

    @contextmanager
    def prepare_deletion(self, record: str) -> Generator[dict[str, bytes | None]]:
        """Do what `prepare_change` does for `delete`."""
        name = _name(record)
        with self._exclusive_change():
            yield {} if self._read_file(record) is None else {name: None}

    def rotate(self) -> int:
        """Re-encrypt everything with the newest key, then drop the other keys from the home folder.

        Unreadable values are left unchanged; then no key is dropped, and the first error is raised at the end. After a
        crash some values have the old key and some the new one, and both keys are still there.

        Returns:
            how many values were re-encrypted.
        """
        moved = 0
        failures: list[VaultError] = []
        with self._exclusive_change():
            newest = self._keys.newest()
            for record in self._records():
                try:
                    held = self._parse(record, self._read_file(record))
                except VaultError as error:
                    failures.append(error)
                    continue
                new = dict(held)
                for field, sealed in held.items():
                    try:
                        new[field] = self._reencrypt(sealed, newest, record, field)
                    except VaultError as error:
                        failures.append(error)
                if new != held:
                    self._documents.replace({_name(record): self._dump(record, new)})
                    moved += sum(new[field] != held[field] for field in held)
            if not failures:
                self._keys.drop_old_keys()
        if failures:
            raise failures[0]
        return moved

    @contextmanager
    def _exclusive_change(self) -> Generator[None]:
        with writing(self._documents.path(_FOLDER)), self._documents.exclusive():
            yield

    def _records(self) -> list[str]:
        with reading(self._documents.path(_FOLDER)):
            names = self._documents.names(_FOLDER)
        records = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
        return sorted(record for record in records if _RECORD.fullmatch(record))

    def _path(self, record: str) -> Path:
        return self._documents.path(_name(record))

    def _read_file(self, record: str) -> bytes | None:
        name = _name(record)
        with reading(self._documents.path(name)):
            return self._documents.read(name, _MAX_RECORD_SIZE)

    def _parse(self, record: str, octets: bytes | None) -> dict[str, SealedValue]:
        if octets is None:
            return {}
        try:
            return parse(octets)
        except ValueError as error:
            raise self._damaged_error(record, error) from error

    def _unseal(self, sealed: SealedValue, key: Key, record: str, field: str) -> Secret:
        try:
            return unseal(sealed, key, record, field, self._keys.scope)
        except ValueError as error:
            raise self._damaged_error(record, error) from error

    def _reencrypt(self, sealed: SealedValue, newest: Key, record: str, field: str) -> SealedValue:
        key = self._keys.find(sealed.key)
        if key is None:
            raise _missing_key_error(record, field, sealed)
        value = self._unseal(sealed, key, record, field)
        return sealed if key == newest else seal(value, newest, record, field, self._keys.scope)

    def _dump(self, record: str, fields: Mapping[str, SealedValue]) -> bytes | None:
        if not fields:
            return None
        octets = dump(fields)
        if len(octets) > _MAX_RECORD_SIZE:
            raise InputError(f"The secrets of {record} are too long.", stage="token", detail=f"{len(octets)} octets")
        return octets

    def _damaged_error(self, record: str, reason: ValueError) -> VaultError:
        return unreadable_error(
            f"The secrets of {record} are damaged, or were kept by another version of mailslot: "
            "delete the token and obtain it again.",
            f"{self._path(record)}: {reason}",
        )


def _name(record: str) -> str:
    """Return the name of a record's document."""
    _check_name(record, _RECORD)
    return f"{_FOLDER}/{record}{_SUFFIX}"


def _missing_key_error(record: str, field: str, sealed: SealedValue) -> VaultError:
    return unreadable_error(
        f"The key to the secrets of {record} is not here: put it back, or delete the token and obtain it again.",
        f"the field {field} needs the key {sealed.key!a}",
    )


def _check_name(name: str, allowed: re.Pattern[str]) -> None:
    if not allowed.fullmatch(name):
        raise InputError(
            f"{name[:80]!r} cannot name a record or field: use lower-case letters, digits, - and _.",
            stage="token",
        )
