"""The data keys of all tenants of a fleet, for key rotation by the owner of the tables."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailslot.errors import InputError
from mailslot.fleet.master_key import WrappedKey
from mailslot.fleet.postgres.database import DeviceId
from mailslot.fleet.postgres.errors import as_input_error
from mailslot.fleet.postgres.schema import SCHEMA, check_version, version_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from mailslot.fleet.postgres.database import FleetDatabase, Rows


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key of a tenant.

    Attributes:
        tenant: the name of the tenant.
        id: its id.
        wrapped: the key, wrapped.
        added_at: when it was added, in seconds since 1970.
    """

    tenant: str
    id: str
    wrapped: WrappedKey
    added_at: float


class KeyRegistry:
    """The data keys of all tenants. Every method blocks, and may raise `InputError` if the database cannot be used.

    Args:
        database: the database, whose user owns its tables.
    """

    def __init__(self, database: FleetDatabase) -> None:
        self._database = database

    def all(self, tenant: str | None = None) -> list[DataKey]:
        """Return the keys of all tenants, or of one, the newest of each tenant first."""
        with self._transaction() as connection:
            found = connection.execute(
                "SELECT name, data_keys.id, master, wrapped, extract(epoch FROM data_keys.added_at)::float AS at "
                "FROM data_keys JOIN tenants ON tenants.id = tenant "
                "WHERE %(tenant)s::text IS NULL OR name = %(tenant)s "
                "ORDER BY name, data_keys.added_at DESC, data_keys.id",
                {"tenant": tenant},
            ).fetchall()
        return [DataKey(row["name"], row["id"], WrappedKey(row["master"], row["wrapped"]), row["at"]) for row in found]

    def replace(self, key: DataKey, fresh: WrappedKey) -> bool:
        """Replace the wrapped form of a key; return False if it was changed or deleted meanwhile."""
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE data_keys SET master = %s, wrapped = %s FROM tenants "
                "WHERE tenants.id = tenant AND name = %s AND data_keys.id = %s AND master = %s AND wrapped = %s",
                (fresh.master, fresh.octets, key.tenant, key.id, key.wrapped.master, key.wrapped.octets),
            )
            return changed.rowcount == 1

    def add(self, tenant: str, key_id: str, wrapped: WrappedKey) -> bool:
        """Add a new key of a tenant; return False if it already has two."""
        with self._transaction() as connection:
            number = lock_tenant(connection, tenant)
            added = connection.execute(
                # The database's clock may have been set back.
                "INSERT INTO data_keys (tenant, id, master, wrapped, added_at) SELECT tenant, %s, %s, %s, "
                "greatest(now(), max(added_at) + interval '1 ms') FROM data_keys WHERE tenant = %s GROUP BY tenant "
                "HAVING count(*) = 1",
                (key_id, wrapped.master, wrapped.octets, number),
            )
            return added.rowcount == 1

    def drop_older(self, tenant: str, key_id: str) -> bool:
        """Delete the keys of a tenant that are older than a given one, unless something still needs one of them.

        Returns:
            whether no older key is left.
        """
        older = (
            "(SELECT older.id FROM data_keys AS older JOIN data_keys AS kept ON kept.tenant = older.tenant "
            "AND kept.added_at > older.added_at WHERE kept.tenant = %(tenant)s AND kept.id = %(key)s)"
        )
        with self._transaction() as connection:
            values = {"tenant": lock_tenant(connection, tenant), "key": key_id}
            connection.execute(
                f"DELETE FROM data_keys WHERE tenant = %(tenant)s AND id IN {older} AND NOT EXISTS "
                f"(SELECT FROM seals WHERE seals.tenant = %(tenant)s AND key IN {older}) AND NOT EXISTS "
                f"(SELECT FROM shared_secrets WHERE shared_secrets.tenant = %(tenant)s AND key IN {older})",
                values,
            )
            return connection.execute(f"SELECT FROM {older} AS older", values).fetchone() is None

    def devices(self, tenant: str) -> list[DeviceId]:
        """Return the devices of a tenant, by name."""
        with self._transaction() as connection:
            found = connection.execute(
                "SELECT devices.name, devices.tenant, devices.id FROM devices JOIN tenants ON tenants.id = tenant "
                "WHERE tenants.name = %s ORDER BY devices.name",
                (tenant,),
            ).fetchall()
        return [DeviceId(tenant, row["name"], row["tenant"], row["id"]) for row in found]

    @contextmanager
    def _transaction(self) -> Generator[Rows]:
        with owner_transaction(self._database) as connection:
            yield connection


@contextmanager
def owner_transaction(database: FleetDatabase) -> Generator[Rows]:
    """Run the block in a transaction of the owner of the tables, which sees the rows of all tenants.

    Raises:
        InputError: the database cannot be used, its tables have another version, or its user does not own them.
    """
    with fleet_transaction(database) as connection:
        # Another user would not see the rows of all tenants, and so report a wrong state of the fleet.
        row = connection.execute("SELECT row_security_active('tenants') AS bound, session_user AS name").fetchone()
        if row is None or row["bound"]:
            name = "this one" if row is None else row["name"]
            raise InputError(
                f"This needs the user of the database that owns the fleet's tables, and {name} does not.",
                stage="resolve",
            )
        yield connection


@contextmanager
def fleet_transaction(database: FleetDatabase) -> Generator[Rows]:
    """Run the block in a transaction with the rows that the database's user may see.

    Raises:
        InputError: the database cannot be used, or its tables have another version.
    """
    with as_input_error(), database.connection() as connection:
        check_version(version_of(connection))
        with connection.transaction():
            connection.execute("SELECT set_config('search_path', %s, true)", (f"{SCHEMA}, pg_temp",))
            yield connection


def lock_tenant(connection: Rows, tenant: str) -> int:
    """Lock the keys of a tenant until the end of the transaction; return the tenant's number."""
    row: Any = connection.execute("SELECT id FROM tenants WHERE name = %s FOR UPDATE", (tenant,)).fetchone()
    if row is None:
        raise InputError(f"There is no tenant {tenant} in the fleet.", stage="resolve")
    return int(row["id"])
