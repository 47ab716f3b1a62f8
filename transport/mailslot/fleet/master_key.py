"""Master keys, which wrap the data keys of tenants.

A `MasterKey` is a file, which may be a credential of the service manager (`FileMasterKey`), or a key of a key service
(`mailslot.fleet.transit`). A wrapped key is always bound to its tenant, so that it cannot be used as another tenant's.
"""

from __future__ import annotations

import os
import secrets
import stat
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from mailslot.errors import InputError
from mailslot.vault import durable
from mailslot.vault.keys import Key

if TYPE_CHECKING:
    from pathlib import Path

_OCTETS: Final = 32
_NONCE_OCTETS: Final = 12
_MAX_FILE_SIZE: Final = 64 * 1024

KEPT_UNWRAPPED: Final = 60.0
"""Seconds for which the work of a device keeps a data key before it is unwrapped again."""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key that a master key has wrapped.

    Attributes:
        master: the name of the master key.
        octets: the data key, encrypted.
    """

    master: str
    octets: bytes = field(repr=False)


class MasterKey(Protocol):
    """Wraps data keys.

    Every method blocks, and may raise:

    - `InputError`: the key cannot be used.
    - `mailslot.fleet.key_service.KeyServiceError`: its service does not respond, or refuses.
    """

    def newest(self) -> str:
        """Return the name of the newest key, after checking that it can be used."""
        ...

    def has(self, name: str) -> bool:
        """Return whether a name is that of a key of this file or service."""
        ...

    def wrap(self, octets: bytes, context: str) -> WrappedKey:
        """Encrypt a data key with the newest key, bound to a context."""
        ...

    def unwrap(self, wrapped: WrappedKey, context: str) -> bytes:
        """Decrypt a data key.

        Raises:
            InputError: it was wrapped by a missing key or for another context, or was changed.
        """
        ...


class FileMasterKey:
    """Master keys in a file, one per line, newest first, like the key file of a home (`mailslot.vault.keys`).

    The newest wraps; the others only unwrap.

    Args:
        file: the file.
        is_provided: whether it is a credential of the service manager, which sets its owner and mode.
    """

    def __init__(self, file: Path, *, is_provided: bool = False) -> None:
        self._file = file
        self._is_provided = is_provided

    @property
    def file(self) -> Path:
        """The file, which may not exist yet."""
        return self._file

    def create(self) -> bool:
        """Create the file with a new key, unless there is one; return whether it was created.

        Raises:
            InputError: it cannot be written.
        """
        fresh = self._file.with_name(f"{self._file.name}.{secrets.token_hex(8)}")
        try:
            durable.make_folder(self._file.parent)
            durable.write_temporary(fresh, b64encode(os.urandom(_OCTETS)) + b"\n")
            try:
                _give_name(fresh, self._file)
            finally:
                fresh.unlink(missing_ok=True)
            durable.sync_folder(self._file.parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._error(f"cannot be written: {error.strerror}", str(error)) from error
        return True

    def newest(self) -> str:
        """Return the id of the newest key."""
        return self._keys()[0].id

    def has(self, name: str) -> bool:
        """Return whether the file has a key with this id."""
        return any(key.id == name for key in self._keys())

    def wrap(self, octets: bytes, context: str) -> WrappedKey:
        """Encrypt a data key by AES-256-GCM, bound to a context."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - it takes long to import

        key, nonce = self._keys()[0], os.urandom(_NONCE_OCTETS)
        return WrappedKey(key.id, nonce + AESGCM(key.octets).encrypt(nonce, octets, context.encode()))

    def unwrap(self, wrapped: WrappedKey, context: str) -> bytes:
        """Decrypt a data key."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - it takes long to import
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        key = next((key for key in self._keys() if key.id == wrapped.master), None)
        if key is None:
            raise self._error(
                f"does not contain the key {wrapped.master}: put it back", f"{wrapped.master} is not in it"
            )
        nonce, ciphertext = wrapped.octets[:_NONCE_OCTETS], wrapped.octets[_NONCE_OCTETS:]
        try:
            return AESGCM(key.octets).decrypt(nonce, ciphertext, context.encode())
        except (InvalidTag, ValueError):
            raise InputError(
                f"The master key {self._file} does not open a tenant's key: it was changed, or moved to another "
                "tenant.",
                stage="token",
                cause="token_store_unreadable",
                detail=context,
            ) from None

    def _keys(self) -> list[Key]:
        try:
            octets = durable.read(self._file, _MAX_FILE_SIZE, self._check)
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}", str(error)) from error
        try:
            keys = [Key(b64decode(line, validate=True)) for line in (octets or b"").split()]
        except ValueError:
            keys = []
        if not keys or any(len(key.octets) != _OCTETS for key in keys):
            raise self._error("is missing or damaged: put it back from a backup", "each line is 32 octets in base64")
        return keys

    def _check(self, state: os.stat_result) -> None:
        if self._is_provided:
            return
        if state.st_uid != os.geteuid():
            raise self._error("belongs to another user: run mailslot as that user", f"its owner is {state.st_uid}")
        if state.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise self._error(f"is open to other users: run `chmod 600 {self._file}`", stat.filemode(state.st_mode))

    def _error(self, reason: str, detail: str) -> InputError:
        # The secrets are intact, and can be read on another machine, or after the key is restored.
        return InputError(
            f"The master key {self._file} {reason}.", stage="token", cause="token_store_unreachable", detail=detail
        )


class MasterKeys:
    """A master key, and the one that it replaces, which only unwraps.

    Args:
        newest: the new key, which wraps.
        old: the old key, which only unwraps.
    """

    def __init__(self, newest: MasterKey, old: MasterKey) -> None:
        self._newest = newest
        self._old = old

    def newest(self) -> str:
        """Return the name of the new key."""
        return self._newest.newest()

    def has(self, name: str) -> bool:
        """Return whether a name is that of a key of either."""
        return self._newest.has(name) or self._old.has(name)

    def wrap(self, octets: bytes, context: str) -> WrappedKey:
        """Encrypt a data key with the newest key."""
        return self._newest.wrap(octets, context)

    def unwrap(self, wrapped: WrappedKey, context: str) -> bytes:
        """Decrypt a data key with the key that wrapped it."""
        return (self._newest if self._newest.has(wrapped.master) else self._old).unwrap(wrapped, context)


def _give_name(fresh: Path, path: Path) -> None:
    """Give a new file its name, unless there is one of that name.

    Raises:
        OSError: there is one, or the folder cannot be written.
    """
    try:
        # Unlike a rename, this never replaces the key of somebody who was faster.
        os.link(fresh, path)
    except FileExistsError:
        raise
    except OSError:
        # FAT, as on memory cards, has no links. Only one can create the name, and then gives it its contents.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        fresh.replace(path)
