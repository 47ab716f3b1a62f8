"""The settings of the gateway: its listeners and devices as typed objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot.slots.effective_settings import effective_settings
from mailslot.slots.gateway.device_entry import DeviceEntry
from mailslot.slots.gateway.listeners import Listener
from mailslot.slots.settings import protocol_of
from mailslot.slots.slot import SlotDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mailslot.slots.gateway.device_entry import IPAddress
    from mailslot.slots.settings_document import CurrentSettings
    from mailslot.slots.slot import Protocol


@dataclass(frozen=True, slots=True)
class ListenerDevices:
    """The devices that may connect to a listener.

    Attributes:
        limited: those that may do so from certain addresses only.
        anywhere: those that may do so from any address.
    """

    limited: tuple[DeviceEntry, ...] = ()
    anywhere: tuple[DeviceEntry, ...] = ()


_NO_DEVICES: Final = ListenerDevices()
"""Those of a listener that was removed, while it is still open."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The listeners and devices of the gateway.

    Attributes:
        listeners: by name.
        devices: by name.
        slots: the slots and accounts that devices can use.
        addresses: the sender's address of each slot that has one, by slot id.
        servers: the mail server of each slot that has one, by slot id.
        by_user: the devices that sign in, by protocol and lower-case user name.
        by_listener: the devices that may connect to each listener, by its name.
    """

    listeners: Mapping[str, Listener] = field(default_factory=dict[str, Listener])
    devices: Mapping[str, DeviceEntry] = field(default_factory=dict[str, DeviceEntry])
    slots: SlotDirectory = field(default_factory=SlotDirectory)
    addresses: Mapping[str, str] = field(default_factory=dict[str, str])
    servers: Mapping[str, str] = field(default_factory=dict[str, str])
    by_user: Mapping[tuple[Protocol, str], DeviceEntry] = field(
        default_factory=dict["tuple[Protocol, str]", DeviceEntry]
    )
    by_listener: Mapping[str, ListenerDevices] = field(default_factory=dict[str, ListenerDevices])

    @classmethod
    def of(cls, settings: CurrentSettings) -> GatewaySettings:
        """Return the gateway's part of the current settings."""
        slots = settings.slots
        devices = {name: DeviceEntry.from_values(name, values) for name, values in settings.groups["devices"].items()}
        listeners = {name: Listener.from_values(name, values) for name, values in settings.groups["listeners"].items()}
        addresses: dict[str, str] = {}
        servers: dict[str, str] = {}
        for slot in slots.slots:
            own = settings.records[slot.record]
            effective = effective_settings(own, protocol_of(slot.record, own))
            if effective.sender_address is not None:
                addresses[slot.id] = effective.sender_address
            if effective.server is not None:
                servers[slot.id] = effective.server
        return cls(
            listeners,
            devices,
            slots,
            addresses,
            servers,
            {
                (slots.find(entry.via).protocol, entry.user.casefold()): entry
                for entry in devices.values()
                if entry.user is not None
            },
            {name: _devices_of(listener, devices.values(), slots) for name, listener in listeners.items()},
        )

    def protocol(self, entry: DeviceEntry) -> Protocol:
        """Return whether a device sends mail or fetches it."""
        return self.slots.find(entry.via).protocol

    def of_user(self, user: str, listener: Listener) -> DeviceEntry | None:
        """Return the device that signs in as a user at a listener; None if there is none.

        The caller must still verify the password, and compare the client's address with `find`.
        """
        return self.by_user.get((listener.protocol, user.casefold()))

    def candidates(self, address: IPAddress, listener: Listener) -> tuple[DeviceEntry, ...]:
        """Return the devices that a client may be; which one it is follows from its certificate and user.

        If there is none, no device may connect from this address. Those that may connect from anywhere come last; if
        there are no others, all calls return the same object, since there may be many, and connections keep it.

        Args:
            address: the client's address, from `mailslot.slots.gateway.device_entry.client_address`.
            listener: the listener that it has connected to.
        """
        devices = self.by_listener.get(listener.name, _NO_DEVICES)
        own = tuple(entry for entry in devices.limited if entry.match_address(address) is not None)
        return own + devices.anywhere if own else devices.anywhere

    def client_certificates(self, listener: Listener) -> tuple[str, ...]:
        """Return the client certificates, in PEM, of the devices at a listener; empty if it need not request any."""
        devices = self.by_listener.get(listener.name, _NO_DEVICES)
        return tuple(text for entry in (*devices.limited, *devices.anywhere) for text in entry.certificate_texts)

    def find(
        self, address: IPAddress, listener: Listener, *, user: str | None = None, certificate: str | None = None
    ) -> DeviceEntry | None:
        """Return the device that a client is; see `find_among`, of all candidates."""
        return find_among(self.candidates(address, listener), address, listener, user=user, certificate=certificate)


def _devices_of(listener: Listener, devices: Iterable[DeviceEntry], slots: SlotDirectory) -> ListenerDevices:
    """Return the devices that may connect to a listener."""
    own = [
        entry
        for entry in devices
        if entry.listener in {None, listener.name} and slots.find(entry.via).protocol == listener.protocol
    ]
    return ListenerDevices(
        tuple(entry for entry in own if entry.addresses), tuple(entry for entry in own if not entry.addresses)
    )


def find_among(
    candidates: Iterable[DeviceEntry],
    address: IPAddress,
    listener: Listener,
    *,
    user: str | None = None,
    certificate: str | None = None,
) -> DeviceEntry | None:
    """Return the device that a client is; None if it is not a known device.

    If several match, a device that signs in comes first, then one with a certificate, then the one with the smallest
    network.

    Args:
        candidates: `GatewaySettings.candidates`.
        address: the client's address, from `mailslot.slots.gateway.device_entry.client_address`.
        listener: the listener that it has connected to.
        user: the user who has signed in; None if nobody has.
        certificate: the SHA-256 fingerprint of its certificate, in lower-case hexadecimal; None without one.
    """
    found = [
        entry
        for entry in candidates
        if entry.match(address, listener=listener.name, user=user, certificate=certificate)
    ]
    return max(
        found,
        key=lambda entry: (entry.user is not None, bool(entry.certificates), entry.match_address(address) or 0),
        default=None,
    )
