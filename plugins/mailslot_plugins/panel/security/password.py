"""The administrator's password, kept as its Argon2 hash (RFC 9106)."""

from __future__ import annotations

import ctypes
import hashlib
import os
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mailslot.errors import InputError
from mailslot.vault import durable
from mailslot.vault.errors import reading, unreadable_error, writing
from mailslot.vault.lock import blocking_lock

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.wire.secret import Secret

SHORTEST: Final = 8
LONGEST: Final = 1024
"""Characters of a password. There is no rule what they must be (NIST SP 800-63B section 3.1.1.2)."""

_WAIT: Final = 10.0
_LARGEST: Final = 1024

# The least that OWASP's Password Storage Cheat Sheet names for Argon2id: 19 MiB, which a small device has.
_KIBIBYTES: Final = 19 * 1024
_PASSES: Final = 2

_M_MMAP_THRESHOLD: Final = -3  # mallopt(3)
_RETURNED: Final = 4 * 1024 * 1024
"""Octets of a block from which on its memory goes back to the system at once."""


class TakenError(InputError):
    """A password has been set already."""

    def __init__(self) -> None:
        super().__init__("A password has been set already: sign in with it.", stage="resolve")


class Password:
    """The hash in the home folder. Everything here blocks, for some tens of milliseconds: call it in a thread.

    Args:
        home: the home folder.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / "panel" / "password"
        self._lock = home / "locks" / "panel.lock"

    def stamp(self) -> object | None:
        """Return what differs once the password was changed, by whichever process; None while there is none.

        Raises:
            VaultError: nobody can tell. It must never pass for a device without a password.
        """
        with reading(self._path):
            try:
                state = self._path.stat()
            except FileNotFoundError:
                return None
        return state.st_ino, state.st_mtime_ns, state.st_size

    def derive_key(self) -> bytes:
        """Return a key that changes with the password, and tells nothing about it; empty while there is none.

        Raises:
            VaultError: the hash cannot be read.
        """
        with reading(self._path):
            octets = durable.read(self._path, _LARGEST)
        # It holds the 128 random bits of the salt, so that nobody can try passwords on what was made with it.
        return b"" if octets is None else hashlib.sha256(octets).digest()

    def set(self, password: Secret, *, first: bool = False) -> None:
        """Set the password.

        Args:
            password: the new one.
            first: only while there is none.

        Raises:
            InputError: it is too short or too long, or, with `first`, there is one.
            VaultError: it cannot be written.
        """
        text = _normal(password)
        if not SHORTEST <= len(text) <= LONGEST:
            raise InputError(f"A password has {SHORTEST} to {LONGEST} characters.", stage="resolve")
        hashed = _hasher().hash(text)
        with writing(self._path):
            durable.make_folder(self._path.parent)
        with blocking_lock(self._lock, timeout=_WAIT):
            if first and self.stamp() is not None:
                raise TakenError
            with writing(self._path):
                durable.replace(self._path, f"{hashed}\n".encode())

    def verify(self, password: Secret) -> bool:
        """Return whether this is the password; it takes as long where there is none.

        Raises:
            VaultError: the hash cannot be read.
        """
        with reading(self._path):
            octets = durable.read(self._path, _LARGEST)
        hashed = _nobody() if octets is None else octets.decode("ascii", "replace").strip()
        try:
            right = _hasher().verify(hashed, _normal(password))
        except InvalidHashError as error:
            raise unreadable_error(
                "The panel's password cannot be read. Set a new one: mailslot panel password", str(error)
            ) from error
        except VerificationError:
            return False
        return right and octets is not None


def _normal(password: Secret) -> str:
    # The same text comes in different forms from different keyboards (NIST SP 800-63B section 3.1.1.2).
    return unicodedata.normalize("NFKC", password.reveal())


@cache
def _hasher() -> PasswordHasher:
    """Return what hashes passwords, and leaves no memory behind.

    With each block that is freed, glibc learns to keep as large a one, in every thread that had it: 19 MiB for each of
    dozens of threads. Told a size, it learns nothing. Other C libraries return such blocks anyway.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _RETURNED)
    return PasswordHasher(time_cost=_PASSES, memory_cost=_KIBIBYTES, parallelism=1)


@cache
def _nobody() -> str:
    return _hasher().hash(os.urandom(16))
