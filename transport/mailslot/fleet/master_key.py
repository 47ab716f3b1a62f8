"""Master keys: what the data keys of tenants are wrapped with.

A key service of another kind needs the same three things: a name for its key, wrapping, and unwrapping. What it is
asked to wrap is always bound to a tenant, so that the data key of one tenant cannot be passed off as another's.
"""

from __future__ import annotations

import os
import secrets
import stat
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final, Protocol

from mailslot.errors import InputError
from mailslot.vault import durable
from mailslot.vault.keys import Key

if TYPE_CHECKING:
    from pathlib import Path

_OCTETS: Final = 32
_NONCE_OCTETS: Final = 12
_MAX_FILE_SIZE: Final = 64 * 1024


class MasterKey(Protocol):
    """A master key, in a file or in a key service. Every method blocks."""

    @property
    def name(self) -> str:
        """The name of the key that wraps now, stored with what it has wrapped."""
        ...

    def wrap(self, octets: bytes, context: str) -> bytes:
        """Encrypt a data key, bound to a context.

        Raises:
            InputError: the key cannot be used.
        """
        ...

    def unwrap(self, wrapped: bytes, name: str, context: str) -> bytes:
        """Decrypt a data key that the key of this name has wrapped for this context.

        Raises:
            InputError: the key cannot be used, or it was wrapped by another key or for another context.
        """
        ...


class FileMasterKey:
    """Master keys in a file, one in each line, newest first; like the key file of a home (`mailslot.vault.keys`).

    The newest wraps; the others only unwrap. A file with a new line above the old one changes the master key.

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

    @property
    def name(self) -> str:
        """The id of the newest key."""
        return self._keys()[0].id

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
                # Unlike a rename, this never replaces the key of somebody who was faster.
                os.link(fresh, self._file)
            finally:
                fresh.unlink()
            durable.sync_folder(self._file.parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._error(f"cannot be written: {error.strerror}", str(error)) from error
        return True

    def wrap(self, octets: bytes, context: str) -> bytes:
        """Encrypt a data key by AES-256-GCM, bound to a context."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - it takes long to import

        nonce = os.urandom(_NONCE_OCTETS)
        return nonce + AESGCM(self._keys()[0].octets).encrypt(nonce, octets, context.encode())

    def unwrap(self, wrapped: bytes, name: str, context: str) -> bytes:
        """Decrypt a data key."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - it takes long to import
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        key = next((key for key in self._keys() if key.id == name), None)
        if key is None:
            raise self._error(f"does not contain the key {name}: put it back", f"{name} is not in it")
        try:
            return AESGCM(key.octets).decrypt(wrapped[:_NONCE_OCTETS], wrapped[_NONCE_OCTETS:], context.encode())
        except InvalidTag:
            raise self._error(
                "does not open a tenant's key: it was changed, or moved to another tenant", context
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
        return InputError(
            f"The master key {self._file} {reason}.", stage="token", cause="token_store_unreadable", detail=detail
        )
