"""API keys: created by the administrator, shown once, stored as hashes.

A key has 256 random bits, so a plain hash is enough: it cannot be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.home.folder import home_of
from mailslot.vault.errors import reading, unreadable_error, writing
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from mailslot.home.home import Home

MAX_KEYS: Final = 50
"""The maximum number of keys."""

MAX_NAME_LENGTH: Final = 80
PREFIX: Final = "mailslot_"
"""The prefix of a key, so that secret scanners can recognise one in source code."""

_NAME: Final = "panel/keys.json"
_LARGEST: Final = 64 * 1024
_WAIT: Final = 10.0
_USE_INTERVAL: Final = 3600.0
"""Seconds between two updates of a key's last use, to spare flash memory."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The stored data of a key.

    Attributes:
        id: its id.
        name: its name.
        made: when it was created, in seconds since 1970.
        used: when it was last used, to the hour; None if never.
        digest: its SHA-256, in hexadecimal.
        documents: whether it may read received documents.
    """

    id: str
    name: str
    made: float
    used: float | None
    digest: str
    documents: bool = False


class ApiKeys:
    """The API keys of a home. All methods block for a moment: call them in a thread.

    Args:
        home: the home, or its folder.
        now: the wall clock, in seconds since 1970.
    """

    def __init__(self, home: Path | Home, now: Callable[[], float]) -> None:
        self._home = home_of(home)
        self._path = self._home.documents.path(_NAME)
        self._now = now

    def all(self) -> list[ApiKey]:
        """Return all keys, the oldest first.

        Raises:
            VaultError: the file cannot be read.
        """
        with reading(self._path):
            octets = self._home.documents.read(_NAME, _LARGEST)
        if octets is None:
            return []
        try:
            documents: list[dict[str, Any]] = json.loads(octets)
            return [ApiKey(**document) for document in documents]
        except (ValueError, TypeError) as error:
            raise unreadable_error(
                f"{self._path} is damaged: delete it, and make new keys.", type(error).__name__
            ) from error

    def make(self, name: str, *, documents: bool = False) -> Secret:
        """Create a key, and return it; it cannot be retrieved later.

        Args:
            name: what it is for.
            documents: whether it may read received documents.

        Raises:
            InputError: the name is not valid, or there are too many keys.
            VaultError: it cannot be stored.
        """
        name = " ".join(name.split())
        if not name or not name.isprintable() or len(name) > MAX_NAME_LENGTH:
            raise InputError(f"The name of a key has 1 to {MAX_NAME_LENGTH} characters.", stage="resolve")
        key = Secret(PREFIX + secrets.token_urlsafe(32))
        with self._changed() as keys:
            if len(keys) >= MAX_KEYS:
                raise InputError(f"There are {MAX_KEYS} keys already: delete one first.", stage="resolve")
            keys.append(ApiKey(secrets.token_hex(8), name, self._now(), None, _digest(key), documents))
        return key

    def delete(self, id_: str) -> bool:
        """Delete a key, and return whether it existed.

        Raises:
            VaultError: it cannot be deleted.
        """
        with self._changed() as keys:
            left = [key for key in keys if key.id != id_]
            existed = len(left) < len(keys)
            keys[:] = left
        return existed

    def check(self, key: Secret) -> ApiKey | None:
        """Return the stored data of a key, and record its use; None if it is not valid.

        Raises:
            VaultError: the file cannot be read.
        """
        digest, now = _digest(key), self._now()
        found = next((each for each in self.all() if hmac.compare_digest(each.digest, digest)), None)
        if found is not None and (found.used is None or abs(now - found.used) >= _USE_INTERVAL):
            with self._changed() as keys:
                keys[:] = [replace(each, used=now) if each.id == found.id else each for each in keys]
        return found

    @contextmanager
    def _changed(self) -> Generator[list[ApiKey]]:
        with self._home.blocking_lock("panel", timeout=_WAIT):
            keys = self.all()
            yield keys
            with writing(self._path):
                self._home.documents.replace({_NAME: json.dumps([asdict(key) for key in keys], indent=1).encode()})


def _digest(key: Secret) -> str:
    return hashlib.sha256(key.reveal().encode()).hexdigest()
