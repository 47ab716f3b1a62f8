"""The tenants and devices of a fleet, managed by the owner of the tables."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.fleet.postgres.database import DeviceId
from mailslot.fleet.postgres.errors import as_input_error
from mailslot.fleet.postgres.home import WORKERS_GONE_AFTER
from mailslot.fleet.postgres.key_registry import fleet_transaction
from mailslot.fleet.postgres.keys import new_data_key
from mailslot.fleet.postgres.roles import admit_to_engine
from mailslot.fleet.postgres.schema import ENGINE_SCHEMA, check_version, migrate, version_of
from mailslot.fleet.postgres.statistics import read_statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from mailslot.fleet.master_key import MasterKey
    from mailslot.fleet.postgres.database import FleetDatabase, Rows
    from mailslot.fleet.postgres.statistics import Statistics


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    """A device with the numbers of its jobs and mails.

    Attributes:
        tenant: the name of its tenant.
        device: its name.
        added_at: when it was added, in seconds since 1970.
        jobs: the number of its jobs by state.
        mails: the number of its mails by state.
        serving: whether a process works for it now.
    """

    tenant: str
    device: str
    added_at: float
    jobs: dict[str, int]
    mails: dict[str, int]
    serving: bool


class Registry:
    """The tenants and devices. Every method blocks, and may raise `InputError` if the database cannot be used.

    Args:
        database: the database, whose user owns its tables.
    """

    def __init__(self, database: FleetDatabase) -> None:
        self._database = database

    def init(self) -> int:
        """Create the tables, or bring them up to date; return how many steps this took.

        Raises:
            InputError: they cannot be brought up to date.
        """
        from mailslot.fleet.engine import create_schema  # noqa: PLC0415 - only this and workers need procrastinate

        with as_input_error(), self._database.connection() as connection:
            steps = migrate(connection)
            create_schema(connection)
            admit_to_engine(connection, ENGINE_SCHEMA)
        return steps

    def has_keys(self) -> bool:
        """Return whether any tenant has a data key, wrapped by a master key."""
        with self._transaction() as connection:
            return connection.execute("SELECT FROM data_keys LIMIT 1").fetchone() is not None

    def add(
        self,
        tenant: str,
        device: str,
        master: MasterKey,
        *,
        within: Callable[[Rows, DeviceId], None] | None = None,
    ) -> DeviceId:
        """Add a device, and its tenant with a data key if it is new.

        Args:
            tenant: the name of the tenant.
            device: the name of the device.
            master: the master key.
            within: called in the same transaction; if it raises, nothing was added.

        Raises:
            InputError: there is a device of this name, or the master key cannot be used.
        """
        with self._transaction() as connection:
            row = connection.execute(
                "INSERT INTO tenants (name) VALUES (%s) ON CONFLICT (name) DO NOTHING RETURNING id", (tenant,)
            ).fetchone()
            if row is not None:
                key_id, wrapped = new_data_key(master, tenant)
                connection.execute(
                    "INSERT INTO data_keys (tenant, id, master, wrapped) VALUES (%s, %s, %s, %s)",
                    (row["id"], key_id, wrapped.master, wrapped.octets),
                )
            else:
                row = connection.execute("SELECT id FROM tenants WHERE name = %s FOR SHARE", (tenant,)).fetchone()
            if row is None:
                raise InputError(f"The tenant {tenant} was removed meanwhile.", stage="resolve")
            number = int(row["id"])
            added = connection.execute(
                "INSERT INTO devices (tenant, name) VALUES (%s, %s) ON CONFLICT (tenant, name) DO NOTHING RETURNING id",
                (number, device),
            ).fetchone()
            if added is None:
                raise InputError(f"There is a device {tenant}/{device} already.", stage="resolve")
            connection.execute("INSERT INTO device_state (tenant, device) VALUES (%s, %s)", (number, added["id"]))
            found = DeviceId(tenant, device, number, int(added["id"]))
            if within is not None:
                within(connection, found)
        return found

    def remove(self, tenant: str, device: str) -> bool:
        """Remove a device with all its data; with the last device of a tenant, also the tenant and its data keys.

        Returns:
            whether the tenant was also removed.

        Raises:
            InputError: there is no such device.
        """
        with self._transaction() as connection:
            # A transaction that adds a device to the tenant waits, or has committed: the last statement sees it.
            connection.execute("SELECT FROM tenants WHERE name = %s FOR UPDATE", (tenant,))
            _wait_for_writers(connection, "tenants.name = %s AND devices.name = %s", (tenant, device))
            row = connection.execute(
                "DELETE FROM devices USING tenants WHERE tenants.id = devices.tenant AND tenants.name = %s "
                "AND devices.name = %s RETURNING devices.tenant",
                (tenant, device),
            ).fetchone()
            if row is None:
                raise InputError(f"There is no device {tenant}/{device} in the fleet.", stage="resolve")
            gone = connection.execute(
                "DELETE FROM tenants WHERE id = %s AND NOT EXISTS (SELECT FROM devices WHERE tenant = tenants.id)",
                (row["tenant"],),
            )
            return gone.rowcount == 1

    def remove_tenant(self, tenant: str) -> int:
        """Remove a tenant with its data keys and all its devices; return the number of devices.

        Raises:
            InputError: there is no such tenant.
        """
        with self._transaction() as connection:
            row = connection.execute("SELECT id FROM tenants WHERE name = %s FOR UPDATE", (tenant,)).fetchone()
            if row is None:
                raise InputError(f"There is no tenant {tenant} in the fleet.", stage="resolve")
            _wait_for_writers(connection, "tenants.name = %s", (tenant,))
            removed = connection.execute("DELETE FROM devices WHERE tenant = %s", (row["id"],)).rowcount
            connection.execute("DELETE FROM tenants WHERE id = %s", (row["id"],))
            return removed

    def devices(self, tenant: str | None = None) -> list[DeviceSummary]:
        """Return all devices, or those of one tenant, by name."""
        with self._transaction() as connection:
            jobs = self._counts(connection, "jobs")
            mails = self._counts(connection, "mails")
            found = connection.execute(
                "SELECT tenants.name AS tenant, devices.name AS device, devices.id AS number, "
                "extract(epoch FROM devices.added_at)::double precision AS added_at, "
                "EXISTS (SELECT FROM leases WHERE leases.device = devices.id AND leases.name = 'service' "
                "AND until > clock_timestamp()) AS serving "
                "FROM devices JOIN tenants ON tenants.id = devices.tenant "
                "WHERE %(tenant)s::text IS NULL OR tenants.name = %(tenant)s ORDER BY tenants.name, devices.name",
                {"tenant": tenant},
            ).fetchall()
        return [
            DeviceSummary(
                row["tenant"],
                row["device"],
                row["added_at"],
                jobs.get(row["number"], {}),
                mails.get(row["number"], {}),
                row["serving"],
            )
            for row in found
        ]

    def statistics(self, *, ended: bool) -> Statistics:
        """Return the statistics; see `mailslot.fleet.postgres.statistics.read_statistics`."""
        with as_input_error():
            with self._database.connection() as connection:
                check_version(version_of(connection))
            return read_statistics(self._database, ended=ended)

    def names(self) -> list[tuple[str, str]]:
        """Return the names of tenant and device of all devices."""
        query = "SELECT tenants.name AS tenant, devices.name AS device FROM devices JOIN tenants ON tenants.id = tenant"
        with self._transaction() as connection:
            return [(row["tenant"], row["device"]) for row in connection.execute(query)]

    def settings_documents(self, tenant: str | None = None) -> Iterator[tuple[str, str, bytes | None]]:
        """Yield the names of tenant and device with the device's ``mailslot.toml``, by name; None if it has none."""
        query = (
            "SELECT tenants.name AS tenant, devices.name AS device, octets FROM devices "
            "JOIN tenants ON tenants.id = devices.tenant LEFT JOIN documents ON documents.device = devices.id "
            "AND documents.name = 'mailslot.toml' WHERE %(tenant)s::text IS NULL OR tenants.name = %(tenant)s "
            "ORDER BY tenants.name, devices.name"
        )
        with self._transaction() as connection:
            for row in connection.execute(query, {"tenant": tenant}):
                yield row["tenant"], row["device"], row["octets"]

    def workers_seen_at(self) -> float | None:
        """Return when a worker last scanned for due tasks, in seconds since 1970; None if that is over a minute ago."""
        query = (
            "SELECT extract(epoch FROM scanned_at)::double precision AS at FROM schema_version "
            "WHERE scanned_at > now() - make_interval(secs => %s)"
        )
        with self._transaction() as connection:
            row = connection.execute(query, (WORKERS_GONE_AFTER,)).fetchone()
        return None if row is None else float(row["at"])

    def _counts(self, connection: Rows, table: str) -> dict[int, dict[str, int]]:
        counts: dict[int, dict[str, int]] = {}
        query = f"SELECT device, state, count(*) AS number FROM {table} GROUP BY device, state"
        for row in connection.execute(query.encode()):
            counts.setdefault(row["device"], {})[row["state"]] = row["number"]
        return counts

    @contextmanager
    def _transaction(self) -> Generator[Rows]:
        with fleet_transaction(self._database) as connection:
            yield connection


def _wait_for_writers(connection: Rows, condition: str, values: tuple[str, ...]) -> None:
    """Wait for running transactions of devices, and block new ones, which could deadlock with deleting rows."""
    query = (
        "SELECT FROM device_state JOIN devices ON devices.id = device_state.device JOIN tenants ON tenants.id = "
        f"devices.tenant WHERE {condition} ORDER BY device_state.device FOR UPDATE OF device_state"
    )
    connection.execute(query.encode(), values)
