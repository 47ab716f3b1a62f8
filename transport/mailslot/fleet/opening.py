"""Opening a fleet, or one of its devices, by an entered address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.fleet.address import is_address, parse_address
from mailslot.fleet.master_key import FileMasterKey, MasterKeys

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.fleet.master_key import MasterKey
    from mailslot.fleet.postgres.database import FleetDatabase
    from mailslot.fleet.postgres.home import PostgresHome


@dataclass(frozen=True, slots=True)
class FleetPlaces:
    """This machine's files for fleets.

    Attributes:
        folder: the folder for devices' files of this machine.
        master_key: the file of the master key, or its address in a key service.
        is_provided: whether that file is a credential of the service manager.
        old_master_key: the previous master key, which only unwraps, if any.
        token_file: the file with the token for the key service, if any.
        ca_file: a file of further trusted certificate authorities for the key service, if any.
    """

    folder: Path
    master_key: Path | str
    is_provided: bool = False
    old_master_key: Path | str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None

    def master_key_file(self) -> FileMasterKey | None:
        """Return the master key if it is a file; None if it is in a key service."""
        return (
            None if isinstance(self.master_key, str) else FileMasterKey(self.master_key, is_provided=self.is_provided)
        )

    def open_master_key(self) -> MasterKey:
        """Return the master key, without contacting a key service yet.

        Raises:
            InputError: the address of a key in a key service is malformed, or no token for it is given.
        """
        newest = self.master_key_file() or self._open_service(str(self.master_key))
        match self.old_master_key:
            case None:
                return newest
            case str(address):
                return MasterKeys(newest, self._open_service(address))
            case file:
                return MasterKeys(newest, FileMasterKey(file))

    def _open_service(self, address: str) -> MasterKey:
        from mailslot.fleet.key_cache import KeyCache  # noqa: PLC0415 - most fleets have the key in a file
        from mailslot.fleet.key_service import KeyServiceClient  # noqa: PLC0415
        from mailslot.fleet.transit import TransitMasterKey  # noqa: PLC0415

        if self.token_file is None:
            raise InputError(
                "No token for the key service is named: write it to a file, and name that in "
                "MAILSLOT_MASTER_KEY_TOKEN_FILE, or provide it as the credential mailslot.master-key-token.",
                stage="token",
            )
        return KeyCache(TransitMasterKey(address, KeyServiceClient(self.token_file, self.ca_file)))


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


def open_database(url: str, connections: int | None = None, *, for_pages: bool = False) -> FleetDatabase:
    """Return the database of a fleet, without connecting yet.

    Args:
        url: its address.
        connections: the maximum number of connections; None for the needs of one device.
        for_pages: whether people wait for it in a browser, so that an unavailable database must be reported soon.

    Raises:
        InputError: it is not the address of a database, or the extra is missing.
    """
    if not is_address(url):
        raise InputError("The address of a fleet's database has the form postgresql://HOST/DATABASE.", stage="resolve")
    try:
        from mailslot.fleet.postgres.database import CONNECTIONS, FleetDatabase  # noqa: PLC0415 - it needs the extra
        from mailslot.fleet.postgres.patience import OF_PAGES, OF_WORKERS  # noqa: PLC0415 - as above
    except ImportError as error:
        raise InputError(
            "A fleet needs psycopg: pip install 'mailslot[fleet]'.",
            stage="resolve",
            detail=re.sub(r"\s+", " ", str(error)),
        ) from error
    return FleetDatabase(url, connections or CONNECTIONS, OF_PAGES if for_pages else OF_WORKERS)
