"""The home of a device in PostgreSQL."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.fleet.postgres.configuration import ConfigurationCache
from mailslot.fleet.postgres.database import DeviceId, FleetDatabase
from mailslot.fleet.postgres.documents import PostgresDocuments
from mailslot.fleet.postgres.errors import DatabaseError, as_input_error, as_os_error
from mailslot.fleet.postgres.leases import HeldLeases
from mailslot.fleet.postgres.local_messages import LocalMessages
from mailslot.fleet.postgres.rows import DeviceRows
from mailslot.fleet.postgres.schema import SCHEMA, check_version, version_of
from mailslot.fleet.postgres.shared_secrets import TenantSecrets
from mailslot.fleet.postgres.storage import PostgresStorage
from mailslot.oauth.location import Location

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mailslot.fleet.address import DeviceAddress
    from mailslot.fleet.master_key import MasterKey
    from mailslot.fleet.postgres.lease_keeper import LeaseKeeper


WORKERS_GONE_AFTER: Final = 60.0
"""Seconds after the last scan for due tasks until which workers count as running."""


def find_device(database: FleetDatabase, tenant: str, device: str) -> DeviceId:
    """Return a device by the names of its tenant and itself.

    Raises:
        InputError: there is none, or the database cannot be used.
    """
    found = look_up_device(database, tenant, device)
    if found is None:
        raise InputError(
            f"There is no device {tenant}/{device} in the fleet: add it by mailslot fleet add {tenant}/{device}",
            stage="resolve",
        )
    return found


def look_up_device(database: FleetDatabase, tenant: str, device: str) -> DeviceId | None:
    """Return a device by the names of its tenant and itself; None if there is none.

    Raises:
        InputError: the database cannot be used.
    """
    with as_input_error(), database.connection() as connection:
        check_version(version_of(connection))
        row = connection.execute(f"SELECT * FROM {SCHEMA}.find_device(%s, %s)", (tenant, device)).fetchone()
    return None if row is None else DeviceId(tenant, device, row["tenant"], row["device"])


class PostgresHome:
    """A device in a fleet; see `mailslot.home.home.Home`.

    Args:
        database: the database.
        device: the device.
        address: its address.
        master: the master key.
        folder: the folder for files of this machine.
        keeper: the lease keeper of several devices; None to create one.
        messages: a worker's folder for the messages of all devices; then settings and secrets are cached, too. None for
            a folder of its own.
    """

    def __init__(
        self,
        database: FleetDatabase,
        device: DeviceId,
        address: DeviceAddress,
        master: MasterKey,
        folder: Path,
        keeper: LeaseKeeper | None = None,
        messages: LocalMessages | None = None,
    ) -> None:
        self.device: Final = device
        self.folder: Final = folder
        self.is_local: Final = False
        self.is_shared: Final = messages is not None
        self.leases: Final = HeldLeases(database, device, keeper)
        self.kept: Final = None if messages is None else ConfigurationCache()
        self.documents: Final = PostgresDocuments(database, device, self.leases, master, self.kept)
        self.keys: Final = self.documents.keys
        self.shared_secrets: Final = TenantSecrets(self.documents, self.keys, device.tenant_name)
        self._database = database
        self._address = address
        self._messages = messages

    @property
    def name(self) -> str:
        """Its address, without a password."""
        return self._address.shown

    def has_spool(self) -> bool:
        """Return True, since the tables exist."""
        return True

    def spool_storage(self) -> PostgresStorage:
        """Return the storage of its spool."""
        if self._messages is not None:
            return PostgresStorage(self._database, self.device, self.leases, self._messages, is_shared=True)
        return PostgresStorage(self._database, self.device, self.leases, LocalMessages(self.folder / "messages"))

    @asynccontextmanager
    async def lock(self, name: str, *, timeout: float) -> AsyncGenerator[None]:
        """Hold a lease; settings and secrets are read again under it."""
        async with self.leases.lease(name, timeout=timeout):
            if self.kept is not None:
                self.kept.doubt()
            yield

    def blocking_lock(self, name: str, *, timeout: float) -> AbstractContextManager[None]:  # noqa: ARG002 - all are one
        """Hold the lock on the documents, which is also the transaction of the changes."""
        return self.documents.exclusive()

    def confirm_lock(self, name: str) -> None:
        """Check that nobody can have taken over a lease of this process."""
        self.leases.confirm(name)

    def is_locked(self, name: str) -> bool:
        """Whether anybody holds a lease; also True if that is unknown."""
        try:
            return self.leases.is_held(name)
        except DatabaseError:
            return True

    def has_workers(self) -> bool:
        """Whether any worker has scanned for due tasks recently; also True if that is unknown."""
        query = "SELECT coalesce(scanned_at > now() - make_interval(secs => %(seconds)s), false) FROM schema_version"
        try:
            with as_os_error(), self._database.device_transaction(self.device, "read") as connection:
                return DeviceRows(connection, self.device).value(query, seconds=WORKERS_GONE_AFTER) is not False
        except DatabaseError:
            return True

    def locate(self, name: str) -> Location:
        """Return the location of the device, which is the same on every machine and never a copy."""
        return fleet_location(self.device, name)


def fleet_location(device: DeviceId, name: str) -> Location:
    """Return the location of the grants and queue of a device in a fleet."""
    return Location((), "fleet", f"{device}/{name}", None)
