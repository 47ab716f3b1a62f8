"""Opening a fleet, or one of its devices, from what was entered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.fleet.address import is_address, parse_address
from mailslot.fleet.master_key import FileMasterKey

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.fleet.postgres.database import FleetDatabase
    from mailslot.fleet.postgres.home import PostgresHome


@dataclass(frozen=True, slots=True)
class FleetPlaces:
    """Where a fleet has what belongs to this machine.

    Attributes:
        folder: the folder for devices' files of this machine.
        master_key: the file of the master key.
        is_provided: whether that is a credential of the service manager.
    """

    folder: Path
    master_key: Path
    is_provided: bool = False

    def open_master_key(self) -> FileMasterKey:
        """Return the master key."""
        return FileMasterKey(self.master_key, is_provided=self.is_provided)


def open_device_home(place: str, places: FleetPlaces) -> PostgresHome:
    """Return the home of a device, by its address.

    Raises:
        InputError: the address is none, the extra is missing, there is no such device, or the database cannot be used.
    """
    address = parse_address(place)
    database = open_database(address.database)
    from mailslot.fleet.postgres.home import PostgresHome, find_device  # noqa: PLC0415 - it needs the extra

    device = find_device(database, address.tenant, address.device)
    folder = places.folder / address.tenant / address.device
    return PostgresHome(database, device, address, places.open_master_key(), folder)


def open_database(url: str, connections: int | None = None) -> FleetDatabase:
    """Return the database of a fleet; nothing is connected yet.

    Args:
        url: its address.
        connections: the maximum of connections; None for what one device needs.

    Raises:
        InputError: it is no address of a database, or the extra is missing.
    """
    if not is_address(url):
        raise InputError("The database of a fleet is named by postgresql://HOST/DATABASE.", stage="resolve")
    try:
        from mailslot.fleet.postgres.database import FleetDatabase  # noqa: PLC0415 - it needs the extra
    except ImportError as error:
        raise InputError(
            "A fleet needs psycopg: pip install 'mailslot[fleet]'.",
            stage="resolve",
            detail=re.sub(r"\s+", " ", str(error)),
        ) from error
    return FleetDatabase(url) if connections is None else FleetDatabase(url, connections)
