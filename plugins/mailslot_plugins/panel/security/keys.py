"""Keys to the API: made by the administrator, shown once, kept as hashes.

A key has 256 random bits, so that a plain hash of it is enough: there is nothing to guess.
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
from mailslot.vault import durable
from mailslot.vault.errors import reading, unreadable_error, writing
from mailslot.vault.lock import blocking_lock
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

MOST: Final = 50
"""Keys at a time."""

LONGEST_NAME: Final = 80
PREFIX: Final = "mailslot_"
"""How a key begins, so that scanners of source code know one that was left there."""

_LARGEST: Final = 64 * 1024
_WAIT: Final = 10.0
_OFTEN: Final = 3600.0
"""Seconds between two notes of a key's use: flash memory wears out."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key.

    Attributes:
        id: what it is deleted by.
        name: what the administrator calls it.
        made: when it was made, in seconds since 1970.
        used: when it was last used, to the hour; None for never.
        digest: the SHA-256 of it, in hexadecimal.
    """

    id: str
    name: str
    made: float
    used: float | None
    digest: str


class ApiKeys:
    """All of them, in the home folder. Everything here blocks for a moment: call it in a thread.

    Args:
        home: the home folder.
        now: the wall clock, in seconds since 1970.
    """

    def __init__(self, home: Path, now: Callable[[], float]) -> None:
        self._path = home / "panel" / "keys.json"
        self._lock = home / "locks" / "panel.lock"
        self._now = now

    def all(self) -> list[ApiKey]:
        """Return all of them, the oldest first.

        Raises:
            VaultError: the file cannot be read.
        """
        with reading(self._path):
            octets = durable.read(self._path, _LARGEST)
        if octets is None:
            return []
        try:
            documents: list[dict[str, Any]] = json.loads(octets)
            return [ApiKey(**document) for document in documents]
        except (ValueError, TypeError) as error:
            raise unreadable_error(
                f"{self._path} is damaged: delete it, and make new keys.", type(error).__name__
            ) from error

    def make(self, name: str) -> Secret:
        """Return a new key; it is never to be had again.

        Raises:
            InputError: it has no name, or there are too many.
            VaultError: it cannot be kept.
        """
        name = " ".join(name.split())
        if not name or not name.isprintable() or len(name) > LONGEST_NAME:
            raise InputError(f"A key has a name of 1 to {LONGEST_NAME} characters.", stage="resolve")
        key = Secret(PREFIX + secrets.token_urlsafe(32))
        with self._changed() as keys:
            if len(keys) >= MOST:
                raise InputError(f"There are {MOST} keys already: delete one first.", stage="resolve")
            keys.append(ApiKey(secrets.token_hex(8), name, self._now(), None, _digest(key)))
        return key

    def delete(self, id_: str) -> bool:
        """Delete a key, and return whether it was there.

        Raises:
            VaultError: it cannot be deleted.
        """
        with self._changed() as keys:
            left = [key for key in keys if key.id != id_]
            there = len(left) < len(keys)
            keys[:] = left
        return there

    def check(self, key: Secret) -> ApiKey | None:
        """Return which key this is, and note its use; None where it is none.

        Raises:
            VaultError: the file cannot be read.
        """
        digest, now = _digest(key), self._now()
        found = next((each for each in self.all() if hmac.compare_digest(each.digest, digest)), None)
        if found is not None and (found.used is None or abs(now - found.used) >= _OFTEN):
            with self._changed() as keys:
                keys[:] = [replace(each, used=now) if each.id == found.id else each for each in keys]
        return found

    @contextmanager
    def _changed(self) -> Generator[list[ApiKey]]:
        with writing(self._path):
            durable.make_folder(self._path.parent)
        with blocking_lock(self._lock, timeout=_WAIT):
            keys = self.all()
            yield keys
            with writing(self._path):
                durable.replace(self._path, json.dumps([asdict(key) for key in keys], indent=1).encode())


def _digest(key: Secret) -> str:
    return hashlib.sha256(key.reveal().encode()).hexdigest()
