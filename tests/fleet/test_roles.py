"""What database users may do who do not own the tables: those of workers, and those of one tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from fleet.tasks import TaskFleet
from mailslot.errors import InputError, NetworkError
from mailslot.fleet.address import DeviceAddress
from mailslot.fleet.device_work import DeviceWork
from mailslot.fleet.engine import check_schema
from mailslot.fleet.homes import FleetHomes
from mailslot.fleet.opening import FleetPlaces
from mailslot.fleet.postgres import servers
from mailslot.fleet.postgres.clock import DatabaseClock
from mailslot.fleet.postgres.consents import Consents
from mailslot.fleet.postgres.database import FleetDatabase
from mailslot.fleet.postgres.database_users import DatabaseUsers
from mailslot.fleet.postgres.directory import DeviceSearch, FleetDirectory
from mailslot.fleet.postgres.due_scan import scan
from mailslot.fleet.postgres.home import PostgresHome, find_device
from mailslot.fleet.postgres.key_registry import KeyRegistry
from mailslot.fleet.postgres.roles import ROLE, WORKER_ROLE
from mailslot.fleet.postgres.schema import SCHEMA, tables
from mailslot.fleet.postgres.sign_in_links import SignInLinks
from mailslot.fleet.postgres.statistics import read_statistics
from mailslot.oauth.timing import Clocks
from mailslot.slots.records import Records
from mailslot.spool.spool import Spool
from mailslot.wire.secret import Secret
from spool.conftest import message, new

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.postgres import Postgres

SETTINGS = {"server": "mail.example.com", "authentication": "password", "account": "a@example.com"}


@pytest.fixture(scope="module")
def fleet(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskFleet]:
    fleet = TaskFleet(postgres.create_database(), tmp_path_factory.mktemp("fleet"))
    for tenant in ("acme", "other"):
        Records(fleet.add_device(tenant)).change("smtp", SETTINGS, {"password": Secret(tenant)})
    with fleet.database.connection() as connection:
        for name in ("mailslot_test_worker", "mailslot_test_acme", "mailslot_test_nobody"):
            connection.execute(f"CREATE ROLE {name} LOGIN")
    DatabaseUsers(fleet.database).allow("mailslot_test_worker", None)
    DatabaseUsers(fleet.database).allow("mailslot_test_acme", "acme")
    yield fleet
    fleet.database.close()


def database_of(fleet: TaskFleet, user: str) -> FleetDatabase:
    return FleetDatabase(fleet.url.replace("postgres@", f"{user}@"), connections=2)


def home_of(fleet: TaskFleet, database: FleetDatabase, tenant: str, device: str) -> PostgresHome:
    found = find_device(database, tenant, device)
    return PostgresHome(database, found, DeviceAddress(fleet.url, tenant, device), fleet.master, fleet.folder)


def rows_seen(database: FleetDatabase, tenant: int | None = None) -> dict[str, int]:
    """How many rows of each table a user sees who may choose a tenant, as itself."""
    with database.connection() as connection, connection.transaction():
        connection.execute(f"SET LOCAL search_path = {SCHEMA}")
        if tenant is not None:
            connection.execute("SELECT set_config('mailslot.tenant', %s, true)", (str(tenant),))
        seen = {}
        for table in tables(connection):
            try:
                with connection.transaction():
                    row: Any = connection.execute(f"SELECT count(*) AS number FROM {table}").fetchone()
                    seen[table] = row["number"]
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
                seen[table] = 0
        return {table: number for table, number in seen.items() if number}


async def test_a_worker_needs_not_own_the_tables(fleet: TaskFleet) -> None:
    database = database_of(fleet, "mailslot_test_worker")
    with database.connection() as connection:
        check_schema(connection)
    DatabaseClock(database).read()
    home = home_of(fleet, database, "acme", "copier-1")
    fleet.make_due(home, "plan")
    assert scan(database) > 0
    homes = FleetHomes(fleet.url, database, fleet.master, FleetPlaces(fleet.folder, fleet.folder / "master.key"))
    await DeviceWork(homes, [], Clocks()).wake("acme", "copier-1", "", "plan")
    assert ("", "plan") not in fleet.tasks(home)
    assert Records(home).vault.read("smtp", "password") == Secret("acme")
    # Of all tenants together, it sees what has to be done, and nothing that is theirs.
    error = NetworkError("The server was not reached.", stage="connect", cause="connection_refused")
    assert not servers.note_failure(database, "mail.example.com:587", home.device.tenant, error)
    async with Spool(home) as spool:
        await spool.accept(new(), message())
    assert set(rows_seen(database)) == {"tenants", "devices", "tasks", "servers"}
    counted = read_statistics(database, ended=True)
    assert {name: (each.devices, dict(each.jobs)) for name, each in counted.tenants.items()} == {
        "acme": (1, {"queued": 1}),
        "other": (1, {}),
    }
    assert counted.scanned_at is not None
    for statement in (
        *("DELETE FROM {0}.tenants", "DELETE FROM {0}.data_keys", "DROP TABLE {0}.jobs"),
        "SELECT FROM {0}.staff_sessions",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), database.connection() as connection:
            connection.execute(statement.format(SCHEMA).encode())
    with database.connection() as connection:
        assert connection.execute(f"DELETE FROM {SCHEMA}.tasks").rowcount == 0
    database.close()


def test_a_user_of_one_tenant_cannot_choose_another(fleet: TaskFleet) -> None:
    database = database_of(fleet, "mailslot_test_acme")
    acme, other = (find_device(fleet.database, tenant, f"copier-{n}") for n, tenant in ((1, "acme"), (2, "other")))
    home = home_of(fleet, database, "acme", "copier-1")
    Records(home).vault.write("smtp", {"password": Secret("changed")})
    assert Records(home).vault.read("smtp", "password") == Secret("changed")
    with pytest.raises(InputError, match="There is no device"):
        find_device(database, "other", "copier-2")
    seen = rows_seen(database, acme.tenant)
    assert seen["tenants"] == seen["devices"] == seen["data_keys"] == 1
    assert rows_seen(database, other.tenant) == seen
    # Neither for the role of all work for a device.
    with database.device_transaction(other, "read") as connection:
        assert connection.execute("SELECT tenant FROM documents GROUP BY tenant").fetchall() == [
            {"tenant": acme.tenant}
        ]
    with pytest.raises(psycopg.errors.InsufficientPrivilege), database.device_transaction(acme, "beside") as connection:
        connection.execute("DELETE FROM database_users")
    database.close()


def test_what_only_the_owner_of_the_tables_may_do(fleet: TaskFleet) -> None:
    """Others see no rows of that, which must not be taken for a fleet in which there are none."""
    for user in ("mailslot_test_worker", "mailslot_test_acme"):
        database = database_of(fleet, user)
        for run in (
            KeyRegistry(database).all,
            lambda database=database: Consents(database).shared("acme"),
            lambda database=database: SignInLinks(database).all(),
            lambda database=database: SignInLinks(database).withdraw(1),
            lambda database=database: FleetDirectory(database).devices(DeviceSearch()),
        ):
            with pytest.raises(InputError, match=f"owns the fleet's tables, and {user} does not"):
                run()
        database.close()


def test_who_may_work_for_whom(fleet: TaskFleet) -> None:
    nobody = database_of(fleet, "mailslot_test_nobody")
    assert rows_seen(nobody, 1) == {}
    DatabaseUsers(fleet.database).allow("mailslot_test_nobody", "other")
    assert rows_seen(nobody)["tenants"] == 1
    DatabaseUsers(fleet.database).forbid("mailslot_test_nobody")
    assert rows_seen(nobody, 1) == {}
    users = DatabaseUsers(fleet.database)
    with pytest.raises(InputError, match="There is no user mailslot_test_unknown"):
        DatabaseUsers(fleet.database).allow("mailslot_test_unknown", None)
    for role in (ROLE, WORKER_ROLE):
        with pytest.raises(InputError, match="is a role that mailslot gives to users"):
            users.allow(role, None)
        with pytest.raises(InputError, match="is a role that mailslot gives to users"):
            users.forbid(role)
    with pytest.raises(InputError, match="all tenants already"):
        DatabaseUsers(fleet.database).allow("mailslot_test_worker", "acme")
    with pytest.raises(InputError, match="There is no tenant"):
        DatabaseUsers(fleet.database).allow("mailslot_test_nobody", "unknown")
    nobody.close()
