"""The keys of the vault: where they come from, how one is added, and when an old one is dropped.

A key file has one key in each line, newest first: 32 random octets in base64 (AES-256). Values are encrypted with the
newest key; the others only decrypt. The id of a key is derived from the key, so a key file needs nothing else:

    openssl rand -base64 32

The service manager may provide such a file as the credential ``mailslot.key``. For systemd (systemd.exec(5),
systemd-creds(1)), encrypted on the disk and bound to the machine:

    openssl rand -base64 32 | systemd-creds encrypt --name=mailslot.key - /etc/credstore.encrypted/mailslot.key
    [Service]
    LoadCredentialEncrypted=mailslot.key:/etc/credstore.encrypted/mailslot.key

Otherwise ``key`` in the home folder is used, and created with the first secret. If there are both, the service
manager's keys come first, and those of the home folder still decrypt until `Vault.rotate` has re-encrypted everything.
"""

from __future__ import annotations

import hmac
import os
import stat
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, Self

from mailslot.vault import durable
from mailslot.vault.errors import reading, unreadable_error, unwritable_error, writing
from mailslot.vault.journal import Journal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

CREDENTIAL: Final = "mailslot.key"
"""The name of the service manager's credential."""

_KEY_OCTETS: Final = 32
_MAX_FILE_SIZE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        octets: the 32 octets of the key; never shown.
        id: 16 hexadecimal digits that do not reveal the key (an HMAC under it).
    """

    octets: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """The key's id, stored with every value that it encrypts."""
        return hmac.digest(self.octets, b"mailslot vault key", "sha256")[:8].hex()


class Keys(Protocol):
    """The keys of one vault. Every method may raise `VaultError`, `token_store_unreadable`."""

    @property
    def scope(self) -> tuple[str, ...]:
        """What is bound to each value besides its record and field; nothing if each vault has keys of its own."""
        ...

    @property
    def is_provided(self) -> bool:
        """Whether somebody else provides the newest key, so that `add_new_key` cannot."""
        ...

    def check(self) -> None:
        """Check that all keys can be used."""
        ...

    def newest(self) -> Key:
        """Return the key to encrypt with; create it if there is none. Needs the lock for changing documents."""
        ...

    def find(self, key_id: str) -> Key | None:
        """Return the key with this id; None if there is none."""
        ...

    def add_new_key(self) -> None:
        """Add a new key, used for all encryption from now on; `Vault.rotate` re-encrypts the rest.

        Raises:
            VaultError: `token_store_unwritable`.
        """
        ...

    def drop_old_keys(self) -> None:
        """Drop all keys but the newest; no value may need them. Needs the lock for changing documents."""
        ...


class KeyRing:
    """The keys of the vault of one home folder; see `Keys`.

    It keeps no key in memory: another process may have added or dropped one, so the files are read each time.
    """

    def __init__(self, home: Path, credentials: Path | None) -> None:
        self.scope: Final[tuple[str, ...]] = ()
        self._journal = Journal(home)
        self._home = home
        self._file = home / "key"
        self._credential = credentials / CREDENTIAL if credentials is not None else None

    @classmethod
    def load(cls, home: Path, credentials: Path | None) -> Self:
        """Return the key ring of a home folder, after checking that all keys can be read.

        Args:
            home: the home folder; neither it nor a key needs to exist yet.
            credentials: the folder of the service manager's credentials (``$CREDENTIALS_DIRECTORY``), if any.

        Raises:
            VaultError: `token_store_unreadable`, a key file is damaged, accessible to others or owned by another user.
        """
        ring = cls(home, credentials)
        ring.check()
        return ring

    def check(self) -> None:
        """Check that all key files can be used.

        Raises:
            VaultError: as for `load`.
        """
        self._all_keys()

    @property
    def is_provided(self) -> bool:
        """Whether the service manager provides the newest key.

        Raises:
            VaultError: as for `load`.
        """
        return bool(self._credential_keys())

    def newest(self) -> Key:
        """Return the key to encrypt with; create it if there is none. Needs the `exclusive` lock."""
        keys = self._all_keys()
        return keys[0] if keys else self._create_key()

    def find(self, key_id: str) -> Key | None:
        """Return the key with this id; None if there is none."""
        return next((key for key in self._all_keys() if key.id == key_id), None)

    def add_new_key(self) -> None:
        """Add a new key, used for all encryption from now on; `Vault.rotate` re-encrypts the rest.

        Raises:
            VaultError: `token_store_unwritable`, the service manager provides the key; or it could not be written.
        """
        with self.exclusive():
            if self._credential_keys():
                raise unwritable_error(
                    "The key is provided by the service manager: write the new one as the first line of its credential "
                    f"{CREDENTIAL}, above the old one, and restart the service."
                )
            self._create_key()

    def drop_old_keys(self) -> None:
        """Drop all keys in the home folder except the newest; no value may need them. Needs the `exclusive` lock."""
        own = self._file_keys()
        kept = [] if self._credential_keys() else own[:1]
        if kept != own:
            self._write(kept)

    def exclusive(self) -> AbstractContextManager[None]:
        """Return the lock for changing keys and records, across threads and processes, as a context manager."""
        return self._journal.exclusive()

    def _all_keys(self) -> list[Key]:
        return [*self._credential_keys(), *self._file_keys()]

    def _credential_keys(self) -> list[Key]:
        if self._credential is None:
            return []
        # The service manager controls owner and mode, sometimes by an access list that the mode does not show.
        with reading(self._credential):
            return _parse(self._credential, durable.read(self._credential, _MAX_FILE_SIZE))

    def _file_keys(self) -> list[Key]:
        with reading(self._file):
            return _parse(self._file, durable.read(self._file, _MAX_FILE_SIZE, self._check_permissions))

    def _check_permissions(self, state: os.stat_result) -> None:
        if state.st_uid != os.geteuid():
            raise unreadable_error(
                f"The key {self._file} belongs to another user: run mailslot as that user, or give the home folder "
                f"to this one by `chown -R {os.geteuid()} {self._home}`.",
                f"its owner is {state.st_uid}, this process runs as {os.geteuid()}",
            )
        if state.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise unreadable_error(
                f"The key {self._file} is open to other users: run `chmod 600 {self._file}`.",
                f"its mode is {stat.filemode(state.st_mode)}",
            )

    def _create_key(self) -> Key:
        key = Key(os.urandom(_KEY_OCTETS))
        self._write([key, *self._file_keys()])
        return key

    def _write(self, keys: list[Key]) -> None:
        with writing(self._file):
            if keys:
                durable.replace(self._file, b"".join(b64encode(key.octets) + b"\n" for key in keys))
            else:
                durable.remove(self._file)


def _parse(file: Path, octets: bytes | None) -> list[Key]:
    if octets is None:
        return []
    try:
        keys = [Key(b64decode(line, validate=True)) for line in octets.split()]
    except ValueError:
        keys = []
    if not keys or any(len(key.octets) != _KEY_OCTETS for key in keys):
        raise unreadable_error(
            f"The key {file} is damaged: put it back from a backup, or remove it and obtain the tokens again.",
            "each line must be 32 octets in base64",
        )
    return keys
