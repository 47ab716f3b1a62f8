"""What a process needs to work for the devices of a fleet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailslot.fleet.address import DeviceAddress
from mailslot.fleet.postgres.home import PostgresHome, look_up_device

if TYPE_CHECKING:
    from mailslot.fleet.master_key import MasterKey
    from mailslot.fleet.opening import FleetPlaces
    from mailslot.fleet.postgres.database import FleetDatabase
    from mailslot.fleet.postgres.lease_keeper import LeaseKeeper
    from mailslot.fleet.postgres.local_messages import LocalMessages


@dataclass(frozen=True, slots=True)
class FleetAccess:
    """The access of a process to all devices.

    Attributes:
        url: the address of the database.
        database: the same database.
        master: the master key.
        places: where this machine has what belongs to it.
    """

    url: str = field(repr=False)
    database: FleetDatabase
    master: MasterKey
    places: FleetPlaces

    def home(self, tenant: str, device: str, keeper: LeaseKeeper, messages: LocalMessages) -> PostgresHome | None:
        """Return the home of a device; None if there is no such device. Blocks.

        Args:
            tenant: the name of its tenant.
            device: its name.
            keeper: keeps the leases of all devices of this process.
            messages: the folder for their messages.

        Raises:
            InputError: the database cannot be used.
        """
        found = look_up_device(self.database, tenant, device)
        if found is None:
            return None
        folder, address = self.places.folder / tenant / device, DeviceAddress(self.url, tenant, device)
        return PostgresHome(self.database, found, address, self.master, folder, keeper, messages)
