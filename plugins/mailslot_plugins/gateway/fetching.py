"""The gateway's POP3 side: identifies the device, and opens its maildrop."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from mailslot.pop3.server import replies
from mailslot.spool.errors import SpoolError
from mailslot.vault.errors import VaultError
from mailslot_plugins.gateway.client import Client
from mailslot_plugins.gateway.verdict import fetching_verdict, stranger_verdict

if TYPE_CHECKING:
    from mailslot.net.server_connection import ServerConnection
    from mailslot.plugin import Reply, Secret
    from mailslot.slots.gateway.device_entry import DeviceEntry
    from mailslot_plugins.gateway.gateway import Gateway
    from mailslot_plugins.gateway.maildrop import LedgerMaildrop


class FetchingBackend:
    """Creates a handler for each connection.

    Args:
        gateway: the gateway.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def connected(self, connection: ServerConnection) -> Fetching:
        """Return the handler of a new connection."""
        return Fetching(self._gateway, connection)


class Fetching:
    """The handler of one connection; see `mailslot.pop3.server.backend.ConnectionHandler`.

    Every POP3 client sends a user and a password. If an entry without a user identifies the device, by its
    address or its certificate, both may be anything, unless another device has this user.

    Args:
        gateway: the gateway.
        connection: the connection.
    """

    def __init__(self, gateway: Gateway, connection: ServerConnection) -> None:
        self._gateway = gateway
        self._connection = connection
        self._client = Client(gateway, connection)
        self._entry: DeviceEntry | None = None
        self._maildrop: LedgerMaildrop | None = None
        self._refusal: Reply | None = None

    async def offers_apop(self) -> bool:
        """Whether a device whose entry has APOP may connect from this address."""
        try:
            for entry in self._client.candidates():
                if entry.user is not None and await self._gateway.passwords.recoverable(entry) is not None:
                    return True
        except VaultError:
            # It cannot be known now; a device that signs in so is told.
            return True
        return False

    async def authenticate(self, user: str, password: Secret) -> LedgerMaildrop | Reply:
        """Sign a device in by its password."""
        try:
            entry = self._find_without_user(user) or await self._client.authenticate(user, password)
        except VaultError:
            return self._refuse(replies.UNAVAILABLE)
        return await self._open(entry)

    async def authenticate_apop(self, user: str, timestamp: str, digest: str) -> LedgerMaildrop | Reply:
        """Sign a device in by a digest of its password."""
        entry, passwords = self._client.of_user(user), self._gateway.passwords
        try:
            version = None if entry is None else await passwords.version(entry)
            password = None if entry is None else await passwords.recoverable(entry)
        except VaultError:
            return self._refuse(replies.UNAVAILABLE)
        # A digest is compared for an unknown user as well, so that the time does not reveal that the user is unknown.
        known = "" if password is None else password.reveal()
        right = hmac.compare_digest(apop_digest(timestamp, known), digest)
        if entry is None or password is None or not right or not self._client.fits(entry, user):
            return await self._open(None)
        self._client.note_sign_in(entry, version)
        return await self._open(entry)

    async def check(self) -> Reply | None:
        """Refuse a device whose password has changed since, or whose entry no longer has this maildrop."""
        entry = self._entry
        assert entry is not None  # noqa: S101 - it has signed in
        now = self._gateway.settings.devices.get(entry.name)
        if now is None or now.via != entry.via or not self._client.fits(now, self._connection.user or ""):
            return replies.ENTRY_CHANGED
        try:
            return None if await self._client.is_signed_in_as(now) else replies.PASSWORD_CHANGED
        except VaultError:
            return replies.UNAVAILABLE

    async def closed(self) -> None:
        """Record the dialogue."""
        connection, entry = self._connection, self._entry or self._client.likely_entry()
        if entry is None:
            self._gateway.note_unknown(connection, stranger_verdict(connection))
            return
        retrieved, deleted = (0, 0) if self._maildrop is None else (self._maildrop.retrieved, self._maildrop.deleted)
        verdict = fetching_verdict(connection, self._refusal, retrieved=retrieved, deleted=deleted)
        self._gateway.note(connection, entry, verdict, messages=retrieved, since=self._client.removals)

    def _find_without_user(self, user: str) -> DeviceEntry | None:
        return self._client.find() if self._client.of_user(user) is None else None

    async def _open(self, entry: DeviceEntry | None) -> LedgerMaildrop | Reply:
        if entry is None:
            return self._refuse(replies.AUTHENTICATION_FAILED)
        self._entry = entry
        record = self._gateway.settings.slots.find(entry.via).record
        try:
            opened = await self._gateway.maildrops.open(record, entry.name)
        except SpoolError:
            return self._refuse(replies.UNAVAILABLE)
        if opened is None:
            return self._refuse(replies.IN_USE)
        self._maildrop, self._refusal = opened, None
        return opened

    def _refuse(self, refusal: Reply) -> Reply:
        self._refusal = refusal
        return refusal


def apop_digest(timestamp: str, password: str) -> str:
    """Return the digest of a password, in lower-case hexadecimal (RFC 1939 section 7)."""
    octets = f"{timestamp}{password}".encode("utf-8", "surrogatepass")
    return hashlib.md5(octets, usedforsecurity=False).hexdigest()
