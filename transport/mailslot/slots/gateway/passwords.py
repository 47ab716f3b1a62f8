"""The passwords of devices: set by a person, verified at each sign-in.

A copier may sign in for each page, so that a sign-in must not cost the tens of milliseconds that Argon2id takes: what
was verified once is known again by a digest with a key of this process, until the password changes.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.slots.gateway.stored_password import (
    FIELD,
    MAX_LENGTH,
    StoredPassword,
    keep_chosen,
    keep_made,
    keep_recoverable,
    make_password,
    waste_time,
)
from mailslot.vault.errors import VaultError
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.slots.gateway.device_entry import DeviceEntry
    from mailslot.vault.vault import Vault

RECORD_PREFIX: Final = "device."
"""How the records of devices begin in the vault."""

_THREADS: Final = 1
"""Slow comparisons at a time: on a small machine, one alone takes 19 MiB and a processor."""


def new_password(chosen: Secret | None, *, recoverable: bool) -> tuple[Secret, StoredPassword]:
    """Return a device's new password, and what is to be kept of it. It blocks.

    Args:
        chosen: what a person chose; None for one that is made.
        recoverable: whether it must stay recoverable, for APOP.

    Raises:
        InputError: no device could sign in with what was chosen.
    """
    password = make_password() if chosen is None else chosen
    if recoverable:
        return password, keep_recoverable(password)
    return password, keep_made(password) if chosen is None else keep_chosen(password)


@dataclass(slots=True)
class _Known:
    """What is known of a device's password.

    Attributes:
        version: of its record in the vault.
        stored: what the vault keeps; None where there is no password, or it cannot be read.
        verified: the digest of the password that was verified last; empty before.
    """

    version: object
    stored: StoredPassword | None
    verified: bytes = b""


@dataclass(slots=True)
class DevicePasswords:
    """The passwords of the devices of one home folder; for one event loop.

    Attributes:
        vault: where they are kept.
    """

    vault: Vault
    _known: dict[str, _Known] = field(default_factory=dict[str, _Known], repr=False)
    _key: bytes = field(default_factory=lambda: os.urandom(32), repr=False)
    _limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_THREADS), repr=False)

    async def verify(self, entry: DeviceEntry | None, password: Secret, entries: Iterable[DeviceEntry] = ()) -> bool:
        """Whether a password is a device's; how long a wrong one takes does not tell whether there is such a user.

        A password that was made, or was right a moment ago, takes less than a millisecond. Everything else takes as
        long as the slowest password of `entries` does, one after the other in a thread of its own.

        Args:
            entry: the device of the user who signs in; None where there is no such user.
            password: what was presented.
            entries: all devices.
        """
        if len(password.reveal()) > MAX_LENGTH:
            return False
        if entry is not None:
            known = await run_sync(self._load, entry.name)
            if await self._is_right(entry.name, known, password):
                return True
            if known.stored is not None and known.stored.is_slow:
                return False  # it has taken its time
        if await run_sync(self._any_is_slow, tuple(entries)):
            await run_sync(waste_time, password, limiter=self._limiter)
        return False

    async def version(self, entry: DeviceEntry) -> object:
        """Return a value that changes whenever a device's password does, or is removed."""
        return await run_sync(self.vault.version, f"{RECORD_PREFIX}{entry.name}")

    async def recoverable(self, entry: DeviceEntry) -> Secret | None:
        """Return a device's password where it is kept so for APOP; None where it is not."""
        stored = (await run_sync(self._load, entry.name)).stored
        return Secret(stored.value) if stored is not None and stored.kind == "recoverable" else None

    async def _is_right(self, name: str, known: _Known, password: Secret) -> bool:
        if known.stored is None:
            return False
        if not known.stored.is_slow:
            return known.stored.verify(password)
        octets = f"{name}\0{password.reveal()}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(octets, key=self._key).digest()
        if known.verified and hmac.compare_digest(known.verified, digest):
            return True
        right = await run_sync(known.stored.verify, password, limiter=self._limiter)
        if right:
            known.verified = digest
        return right

    def _any_is_slow(self, entries: Iterable[DeviceEntry]) -> bool:
        stored = (self._load(entry.name).stored for entry in entries if entry.user is not None)
        return any(each is not None and each.is_slow for each in stored)

    def _load(self, name: str) -> _Known:
        """Return what is known of a password, read again where it has changed. It blocks."""
        version = self.vault.version(f"{RECORD_PREFIX}{name}")
        known = self._known.get(name)
        if known is None or known.version != version:
            self._known[name] = known = _Known(version, read_password(self.vault, name))
        return known


def read_password(vault: Vault, name: str) -> StoredPassword | None:
    """Return what is kept of a device's password; None where there is none, or it cannot be read. It blocks."""
    try:
        secret = vault.read(f"{RECORD_PREFIX}{name}", FIELD)
        return None if secret is None else StoredPassword.from_secret(secret)
    except (VaultError, InputError, ValueError):
        return None
