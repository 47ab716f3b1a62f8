"""The homes of a fleet's devices, for a process that works with many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.fleet.address import DeviceAddress
from mailslot.fleet.postgres.home import PostgresHome, find_device, look_up_device
from mailslot.fleet.postgres.lease_keeper import LeaseKeeper

if TYPE_CHECKING:
    from mailslot.fleet.master_key import MasterKey
    from mailslot.fleet.opening import FleetPlaces
    from mailslot.fleet.postgres.database import DeviceId, FleetDatabase
    from mailslot.fleet.postgres.local_messages import LocalMessages


class FleetHomes:
    """The homes, which share one database and one lease keeper. Every method blocks.

    Args:
        url: the address of the database.
        database: the same database.
        master: the master key.
        places: the files of this machine.

    Attributes:
        url: the address of the database.
        database: the database.
        master: the master key.
        places: the files of this machine.
        keeper: keeps the leases of all devices.
    """

    def __init__(self, url: str, database: FleetDatabase, master: MasterKey, places: FleetPlaces) -> None:
        self.url: Final = url
        self.database: Final = database
        self.master: Final = master
        self.places: Final = places
        self.keeper: Final = LeaseKeeper(database)

    def open(self, device: DeviceId, messages: LocalMessages | None = None) -> PostgresHome:
        """Return the home of a device.

        Args:
            device: the device.
            messages: a worker's folder for the messages of all devices; None for a folder of the device's own.
        """
        address = DeviceAddress(self.url, device.tenant_name, device.name)
        folder = self.places.folder / device.tenant_name / device.name
        return PostgresHome(self.database, device, address, self.master, folder, self.keeper, messages)

    def find(self, tenant: str, device: str) -> DeviceId | None:
        """Return a device by the names of its tenant and itself; None if there is none.

        Raises:
            InputError: the database cannot be used.
        """
        return look_up_device(self.database, tenant, device)

    def named(self, tenant: str, device: str) -> PostgresHome:
        """Return the home of a device by its names.

        Raises:
            InputError: there is none, or the database cannot be used.
        """
        return self.open(find_device(self.database, tenant, device))

    def any_of(self, tenant: str, devices: list[str]) -> PostgresHome:
        """Return the home of one of the devices of a tenant, to read what they share.

        Raises:
            InputError: it has none, or the database cannot be used.
        """
        if not devices:
            raise InputError(
                f"There is no tenant {tenant}: add its first device by mailslot fleet add {tenant}/DEVICE.",
                stage="resolve",
            )
        return self.named(tenant, devices[0])
