"""The administrator's password, stored as an Argon2 hash (RFC 9106)."""

from __future__ import annotations

import ctypes
import hashlib
import os
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.home.folder import home_of
from mailslot.vault.errors import reading, unreadable_error, writing

if TYPE_CHECKING:
    from pathlib import Path

    from argon2 import PasswordHasher

    from mailslot.home.home import Home
    from mailslot.wire.secret import Secret

MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 1024
"""Characters of a password. There are no rules for them (NIST SP 800-63B section 3.1.1.2)."""

_WAIT: Final = 10.0
_NAME: Final = "panel/password"
_LARGEST: Final = 1024

# The minimum for Argon2id in OWASP's Password Storage Cheat Sheet: 19 MiB, which a small device has.
_KIBIBYTES: Final = 19 * 1024
_PASSES: Final = 2

_M_MMAP_THRESHOLD: Final = -3  # mallopt(3)
_RETURNED: Final = 4 * 1024 * 1024
"""Blocks of at least this many octets are returned to the system at once."""


class PasswordExistsError(InputError):
    """A password has been set already."""

    def __init__(self) -> None:
        super().__init__("A password has been set already: sign in with it.", stage="resolve")


class Password:
    """The password hash of a home. All methods block, for some tens of milliseconds: call them in a thread."""

    def __init__(self, home: Path | Home) -> None:
        self._home = home_of(home)
        self._path = self._home.documents.path(_NAME)

    def stamp(self) -> bytes | None:
        """Return a value that changes with the password, in any process; None if there is no password.

        Raises:
            VaultError: it cannot be read. This must never count as a device without a password.
        """
        with reading(self._path):
            octets = self._home.documents.read(_NAME, _LARGEST)
        return None if octets is None else _stamp_of(octets)

    def derive_key(self) -> bytes:
        """Return a key that changes with the password and reveals nothing about it; empty if there is no password.

        Raises:
            VaultError: the hash cannot be read.
        """
        with reading(self._path):
            octets = self._home.documents.read(_NAME, _LARGEST)
        # The hash contains a random salt of 128 bits, so passwords cannot be tested against the key.
        return b"" if octets is None else _stamp_of(octets)

    def set(self, password: Secret, *, first: bool = False) -> None:
        """Set the password.

        Args:
            password: the new one.
            first: set it only if there is none.

        Raises:
            InputError: it is too short or too long, or, with `first`, there is a password already.
            VaultError: it cannot be written.
        """
        text = _normalize(password)
        if not MIN_LENGTH <= len(text) <= MAX_LENGTH:
            raise InputError(f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters.", stage="resolve")
        hashed = _hasher().hash(text)
        with self._home.blocking_lock("panel", timeout=_WAIT):
            if first and self.stamp() is not None:
                raise PasswordExistsError
            with writing(self._path):
                self._home.documents.replace({_NAME: f"{hashed}\n".encode()})

    def verify(self, password: Secret) -> bytes | None:
        """Return the `stamp` of the password if this is it, else None; takes equally long if there is none.

        Raises:
            VaultError: the hash cannot be read.
        """
        from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415 - until somebody signs in

        with reading(self._path):
            octets = self._home.documents.read(_NAME, _LARGEST)
        hashed = _dummy_hash() if octets is None else octets.decode("ascii", "replace").strip()
        try:
            right = _hasher().verify(hashed, _normalize(password))
        except InvalidHashError as error:
            raise unreadable_error(
                "The panel's password cannot be read. Set a new one: mailslot panel password", str(error)
            ) from error
        except VerificationError:
            return None
        return _stamp_of(octets) if right and octets is not None else None


def _stamp_of(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()


def _normalize(password: Secret) -> str:
    # Keyboards produce the same text in different forms (NIST SP 800-63B section 3.1.1.2).
    return unicodedata.normalize("NFKC", password.reveal())


@cache
def _hasher() -> PasswordHasher:
    """Return the password hasher, and make glibc free its memory.

    When a large block is freed, glibc raises its mmap threshold and keeps such blocks in every thread: 19 MiB for each
    of dozens of threads. Setting the threshold prevents that. Other C libraries return such blocks anyway.
    """
    from argon2 import PasswordHasher  # noqa: PLC0415 - as above

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _RETURNED)
    return PasswordHasher(time_cost=_PASSES, memory_cost=_KIBIBYTES, parallelism=1)


@cache
def _dummy_hash() -> str:
    return _hasher().hash(os.urandom(16))
