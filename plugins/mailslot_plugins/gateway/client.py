"""Identifying the device of a connection by the entries of devices, for SMTP and POP3 alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.slots.gateway.device_entry import client_address, same_user
from mailslot.slots.gateway.gateway_settings import find_among

if TYPE_CHECKING:
    from mailslot.net.server_connection import ServerConnection
    from mailslot.plugin import Secret
    from mailslot.slots.gateway.device_entry import DeviceEntry
    from mailslot.slots.gateway.gateway_settings import GatewaySettings
    from mailslot_plugins.gateway.gateway import Gateway


class Client:
    """The client of one connection. Changes of the settings take effect at once.

    Args:
        gateway: the gateway.
        connection: the connection.

    Attributes:
        removals: `Gateway.removals` when the connection was accepted.
    """

    def __init__(self, gateway: Gateway, connection: ServerConnection) -> None:
        self._gateway = gateway
        self._connection = connection
        self._address = client_address(connection.peer.address)
        self._signed_in: tuple[str, object] | None = None
        self._settings: GatewaySettings | None = None
        self._candidates: tuple[DeviceEntry, ...] = ()
        self.removals = gateway.removals

    def candidates(self) -> tuple[DeviceEntry, ...]:
        """Return the devices that this may be, before anybody has signed in.

        They are asked for several times a message, and looked for among all devices when the settings have changed.
        """
        settings = self._gateway.settings
        if settings is not self._settings:
            listener = self._gateway.listener(self._connection.peer.listener)
            self._candidates = () if listener is None else settings.candidates(self._address, listener)
            self._settings = settings
        return self._candidates

    def find(self) -> DeviceEntry | None:
        """Return the device by what is known now, including the user who has signed in; None if it is not known."""
        connection = self._connection
        listener = self._gateway.listener(connection.peer.listener)
        if listener is None:
            return None
        return find_among(
            self.candidates(), self._address, listener, user=connection.user, certificate=self._fingerprint()
        )

    def of_user(self, user: str) -> DeviceEntry | None:
        """Return the device that signs in as a user, from any address; None if there is none."""
        listener = self._gateway.listener(self._connection.peer.listener)
        return None if listener is None else self._gateway.settings.of_user(user, listener)

    async def authenticate(self, user: str, password: Secret) -> DeviceEntry | None:
        """Return the device of a user and password; None if one of them, the address or the certificate is wrong.

        The time that it takes does not reveal whether the user exists.

        Raises:
            VaultError: passwords cannot be read at the moment.
        """
        gateway, entry = self._gateway, self.of_user(user)
        right = await gateway.passwords.verify(entry, password, gateway.settings.devices.values())
        if right is None or entry is None or not self.fits(entry, user):
            return None
        self.note_sign_in(entry, right.version)
        return entry

    def note_sign_in(self, entry: DeviceEntry, version: object) -> None:
        """Note that a device has signed in.

        Args:
            entry: the device.
            version: `DevicePasswords.version`, from before its password was verified.
        """
        self._signed_in = entry.name, version

    async def is_signed_in_as(self, entry: DeviceEntry) -> bool:
        """Whether the password of the sign-in is still the device's password, or the device needs none."""
        return entry.user is None or self._signed_in == (entry.name, await self._gateway.passwords.version(entry))

    def fits(self, entry: DeviceEntry, user: str) -> bool:
        """Whether this is the given device, after it has signed in as `user`."""
        listener = self._connection.peer.listener
        return entry.match(self._address, listener=listener, user=user, certificate=self._fingerprint())

    def likely_entry(self) -> DeviceEntry | None:
        """Return the device that this probably was, although it was refused; None if it is unknown."""
        candidates, user = self.candidates(), self._connection.tried_user
        if user is not None:
            return next((each for each in candidates if each.user is not None and same_user(each.user, user)), None)
        own = [each for each in candidates if each.addresses]
        return max(own, key=lambda each: each.match_address(self._address) or 0, default=None)

    def _fingerprint(self) -> str | None:
        tls = self._connection.peer.tls
        return None if tls is None else tls.fingerprint
