"""The passwords of devices: setting and verifying them.

A copier may sign in for each page, so a sign-in must not take the tens of milliseconds of Argon2id. A password that was
verified once is therefore recognized by a digest, keyed in this process, until it changes.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.slots.gateway.stored_password import (
    FIELD,
    MAX_LENGTH,
    StoredPassword,
    encode_chosen,
    encode_generated,
    encode_recoverable,
    generate_password,
    simulate_slow_verification,
)
from mailslot.vault.errors import VaultError, unreadable_error
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.slots.gateway.device_entry import DeviceEntry
    from mailslot.vault.vault import Vault

RECORD_PREFIX: Final = "device."
"""The prefix of the devices' records in the vault."""

_SHOWN: Final = 5
"""The maximum number of devices that a sentence names."""

_THREADS: Final = 1
"""The maximum number of slow comparisons at a time; each takes 19 MiB and a processor."""


def new_password(chosen: Secret | None, *, recoverable: bool) -> tuple[Secret, StoredPassword]:
    """Return a new password for a device, and the form in which it is stored. It blocks.

    Args:
        chosen: the password that a person chose; None to generate one.
        recoverable: whether it is stored so that it can be read again, which APOP needs.

    Raises:
        InputError: the chosen password is not allowed.
    """
    password = generate_password() if chosen is None else chosen
    if recoverable:
        return password, encode_recoverable(password)
    return password, encode_generated(password) if chosen is None else encode_chosen(password)


class RightPassword(NamedTuple):
    """A password that was verified.

    Attributes:
        version: `DevicePasswords.version`, from before it was read, so that a change meanwhile is noticed later.
    """

    version: object


@dataclass(slots=True)
class _CachedPassword:
    """The cached state of a device's password.

    Attributes:
        version: the version of its record in the vault.
        stored: the stored password; None if there is none, or it cannot be read.
        verified: the digest of the password that was verified last; empty if none was.
    """

    version: object
    stored: StoredPassword | None
    verified: bytes = b""


@dataclass(slots=True)
class DevicePasswords:
    """The passwords of the devices of one home folder, for use in one event loop.

    Attributes:
        vault: where they are stored.
    """

    vault: Vault
    _cache: dict[str, _CachedPassword] = field(default_factory=dict[str, _CachedPassword], repr=False)
    _key: bytes = field(default_factory=lambda: os.urandom(32), repr=False)
    _limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_THREADS), repr=False)

    async def verify(
        self, entry: DeviceEntry | None, password: Secret, entries: Iterable[DeviceEntry] = ()
    ) -> RightPassword | None:
        """Return a password that is right, else None. The time taken does not reveal whether there is such a user.

        A generated password, or one that was verified before, takes less than a millisecond. Any other takes as long as
        the slowest kind of password among `entries`; such comparisons run in threads, one at a time.

        Args:
            entry: the device of the user who signs in; None if there is no such user.
            password: the password that the client sent.
            entries: all devices.

        Raises:
            VaultError: passwords cannot be read at the moment.
        """
        if len(password.reveal()) > MAX_LENGTH:
            return None
        if entry is not None:
            cached = await self._current(entry)
            if await self._is_right(entry.name, cached, password):
                return RightPassword(cached.version)
            if cached.stored is not None and cached.stored.is_slow:
                return None  # it has already taken as long as a slow comparison
        if await run_sync(self._has_slow_password, tuple(entries)):
            await run_sync(simulate_slow_verification, password, limiter=self._limiter)
        return None

    async def version(self, entry: DeviceEntry) -> object:
        """Return a value that changes whenever a device's password does, or is removed."""
        record = f"{RECORD_PREFIX}{entry.name}"
        # This is asked for each mail that a device fetches, and a file is looked at sooner than a thread is woken.
        found = self.vault.version_at_once(record)
        return await run_sync(self.vault.version, record) if found is None else found

    async def recoverable(self, entry: DeviceEntry) -> Secret | None:
        """Return a device's password if it is stored as recoverable, for APOP; otherwise None."""
        stored = (await self._current(entry)).stored
        return Secret(stored.value) if stored is not None and stored.kind == "recoverable" else None

    async def _current(self, entry: DeviceEntry) -> _CachedPassword:
        """Return the cached state of a password; a thread is needed only where it has changed."""
        cached = self._cache.get(entry.name)
        if cached is not None and cached.version == await self.version(entry):
            return cached
        return await run_sync(self._load, entry.name)

    async def _is_right(self, name: str, cached: _CachedPassword, password: Secret) -> bool:
        if cached.stored is None:
            return False
        if not cached.stored.is_slow:
            return cached.stored.verify(password)
        octets = f"{name}\0{password.reveal()}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(octets, key=self._key).digest()
        if cached.verified and hmac.compare_digest(cached.verified, digest):
            return True
        right = await run_sync(cached.stored.verify, password, limiter=self._limiter)
        if right:
            cached.verified = digest
        return right

    def _has_slow_password(self, entries: Iterable[DeviceEntry]) -> bool:
        stored = (self._load(entry.name).stored for entry in entries if entry.user is not None)
        return any(each is not None and each.is_slow for each in stored)

    def _load(self, name: str) -> _CachedPassword:
        """Return the cached state of a password, read again if it has changed. It blocks."""
        version = self.vault.version(f"{RECORD_PREFIX}{name}")
        cached = self._cache.get(name)
        if cached is None or cached.version != version:
            # What cannot be read for a moment is not remembered: the device would be refused as long as we run.
            self._cache[name] = cached = _CachedPassword(version, _load_password(self.vault, name))
        return cached


def check_passwords(vault: Vault, names: Iterable[str], *, decrypt: bool) -> None:
    """Check that the passwords of devices can be read. It blocks.

    Args:
        vault: where they are stored.
        names: the names of devices that sign in.
        decrypt: whether to decrypt them, which loads 4 MB of code; otherwise each is only looked for, and its key.

    Raises:
        VaultError: some cannot be read; or none can be read at the moment.
    """
    reasons: dict[str, str] = {}
    for name in names:
        try:
            found = vault.has(f"{RECORD_PREFIX}{name}", FIELD)
        except VaultError as error:
            if error.retryable:
                raise
            reasons[name] = f"{error} {error.detail}"
        else:
            if not found:
                reasons[name] = "it has none"
            elif decrypt and read_password(vault, name) is None:
                reasons[name] = "it cannot be decrypted, or is damaged"
    if reasons:
        first, *others = reasons
        shown = ", ".join([first, *others[: _SHOWN - 1], *(["…"] if len(reasons) > _SHOWN else [])])
        who = f"{len(reasons)} devices ({shown})" if others else f"The device {first}"
        raise unreadable_error(
            f"{who} cannot sign in, since the password is missing or cannot be read: put the key back, or set a new "
            f"one by `mailslot device password {first}`.",
            repr(reasons),
        )


def read_password(vault: Vault, name: str) -> StoredPassword | None:
    """Return a device's stored password; None if there is none, or it cannot be read. It blocks."""
    try:
        return _load_password(vault, name)
    except VaultError:
        return None


def _load_password(vault: Vault, name: str) -> StoredPassword | None:
    """Return a device's stored password; None if there is none, or it is damaged.

    Raises:
        VaultError: it cannot be read at the moment.
    """
    try:
        secret = vault.read(f"{RECORD_PREFIX}{name}", FIELD)
        return None if secret is None else StoredPassword.from_secret(secret)
    except VaultError as error:
        if error.retryable:
            raise
        return None
    except (InputError, ValueError):
        return None
