"""The keys to the vault: where they come from, how one is added, and when an old one goes.

A file of keys holds one key a line, newest first: 32 random octets in base64 (AES-256). What is new is encrypted with
the newest; the others only decrypt. A key's id is derived from the key, so that a file of keys needs nothing else:

    openssl rand -base64 32

The service manager may provide such a file as the credential ``mailslot.key``. For systemd (systemd.exec(5),
systemd-creds(1)), encrypted on the disk and bound to the machine:

    openssl rand -base64 32 | systemd-creds encrypt --name=mailslot.key - /etc/credstore.encrypted/mailslot.key
    [Service]
    LoadCredentialEncrypted=mailslot.key:/etc/credstore.encrypted/mailslot.key

Otherwise ``key`` in the home folder is used, and made when the first secret is kept. Where both are there, the service
manager's keys come first, and those of the home folder still decrypt; `Vault.rotate` then moves everything over.
"""

from __future__ import annotations

import hmac
import os
import stat
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from mailslot.vault import durable
from mailslot.vault.errors import reading, unreadable, unwritable, writing
from mailslot.vault.journal import Journal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

CREDENTIAL: Final = "mailslot.key"
"""The name of the service manager's credential."""

_KEY_OCTETS: Final = 32
_LARGEST_FILE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        octets: the 32 octets of the key itself; never shown.
        id: 16 hexadecimal digits that tell nothing about it (an HMAC under the key).
    """

    octets: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """The key's name, in every value that it encrypts."""
        return hmac.digest(self.octets, b"mailslot vault key", "sha256")[:8].hex()


class KeyRing:
    """The keys to the vault of one home folder.

    It keeps no key in memory: another process may have added or dropped one, so the files are asked each time.

    Attributes:
        journal: what secrets and settings change together by.
    """

    def __init__(self, home: Path, credentials: Path | None) -> None:
        self.journal = Journal(home)
        self._home = home
        self._file = home / "key"
        self._credential = credentials / CREDENTIAL if credentials is not None else None

    @classmethod
    def load(cls, home: Path, credentials: Path | None) -> Self:
        """Return the key ring of a home folder, once all its keys could be read.

        Args:
            home: the home folder; neither it nor a key need be there yet.
            credentials: the folder of the service manager's credentials (``$CREDENTIALS_DIRECTORY``), if any.

        Raises:
            VaultError: `token_store_unreadable`, a file of keys is damaged, open to others or another user's.
        """
        ring = cls(home, credentials)
        ring.check()
        return ring

    def check(self) -> None:
        """Raise where a file of keys cannot be used.

        Raises:
            VaultError: as for `load`.
        """
        self._all()

    @property
    def is_provided(self) -> bool:
        """Whether the service manager provides the newest key.

        Raises:
            VaultError: as for `load`.
        """
        return bool(self._provided())

    def newest(self) -> Key:
        """Return the key to encrypt with; where there is none at all, it is made, and is on the disk.

        Only whoever is in `exclusive` may ask.
        """
        keys = self._all()
        return keys[0] if keys else self._add()

    def find(self, key_id: str) -> Key | None:
        """Return the key with this id, or None."""
        return next((key for key in self._all() if key.id == key_id), None)

    def renew(self) -> None:
        """Add a new key, which everything is encrypted with from now on; `Vault.rotate` moves the rest over.

        Raises:
            VaultError: `token_store_unwritable`, the service manager provides the key; or it could not be written.
        """
        with self.exclusive():
            if self._provided():
                raise unwritable(
                    "The key is provided by the service manager: write the new one as the first line of its credential "
                    f"{CREDENTIAL}, above the old one, and restart the service."
                )
            self._add()

    def retire(self) -> None:
        """Drop all keys in the home folder but the newest; nothing may be encrypted with them any more.

        Only whoever is in `exclusive` may ask.
        """
        own = self._own()
        kept = [] if self._provided() else own[:1]
        if kept != own:
            self._write(kept)

    def exclusive(self) -> AbstractContextManager[None]:
        """Return the right to change keys and records, over all threads and processes; entered with ``with``."""
        return self.journal.exclusive()

    def _all(self) -> list[Key]:
        return [*self._provided(), *self._own()]

    def _provided(self) -> list[Key]:
        if self._credential is None:
            return []
        # The service manager sees to owner and mode, at times by an access list that the mode does not show.
        with reading(self._credential):
            return _parse(self._credential, durable.read(self._credential, _LARGEST_FILE))

    def _own(self) -> list[Key]:
        with reading(self._file):
            return _parse(self._file, durable.read(self._file, _LARGEST_FILE, self._check))

    def _check(self, state: os.stat_result) -> None:
        if state.st_uid != os.geteuid():
            raise unreadable(
                f"The key {self._file} belongs to another user: run mailslot as that user, or give the home folder "
                f"to this one by `chown -R {os.geteuid()} {self._home}`.",
                f"its owner is {state.st_uid}, this process runs as {os.geteuid()}",
            )
        if state.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise unreadable(
                f"The key {self._file} is open to other users: run `chmod 600 {self._file}`.",
                f"its mode is {stat.filemode(state.st_mode)}",
            )

    def _add(self) -> Key:
        key = Key(os.urandom(_KEY_OCTETS))
        self._write([key, *self._own()])
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
        raise unreadable(
            f"The key {file} is damaged: put it back from a backup, or remove it and obtain the tokens again.",
            "each line must be 32 octets in base64",
        )
    return keys
