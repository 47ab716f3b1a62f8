"""A device in PostgreSQL is a home like a folder: settings, secrets and locks; and nobody reads those of others."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest

from lab.process import wait_until
from mailslot.errors import InputError
from mailslot.fleet.postgres.database import DeviceId
from mailslot.fleet.postgres.lease_keeper import LeaseKeeper
from mailslot.fleet.postgres.leases import HeldLeases
from mailslot.fleet.postgres.roles import ROLE
from mailslot.fleet.postgres.schema import SCHEMA, tables
from mailslot.slots.records import Records
from mailslot.spool.errors import DatabaseLostError
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from mailslot.vault.errors import VaultError
from mailslot.vault.record import parse
from mailslot.wire.secret import Secret
from spool.conftest import message

if TYPE_CHECKING:
    from lab.postgres import Fleet
    from mailslot.fleet.postgres.home import PostgresHome

PASSWORD = Secret("open sesame")
SETTINGS = {"server": "mail.example.com", "authentication": "password", "account": "scanner@example.com"}


@pytest.fixture
def home(fleet: Fleet) -> PostgresHome:
    return fleet.add_device()


def test_settings_and_secrets_are_changed_together(fleet: Fleet, home: PostgresHome) -> None:
    records = Records(home)
    assert records.settings.version() is None
    records.change("smtp", SETTINGS, {"password": PASSWORD})
    other = Records(fleet.home(home.device.tenant_name, home.device.name))
    assert other.settings.load()["smtp"].server == "mail.example.com"
    assert other.vault.read("smtp", "password") == PASSWORD
    assert other.vault.fields("smtp") == {"password"}

    def full_disk() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        records.change("smtp", {"server": "other.example.com"}, {"password": Secret("x")}, before_write=full_disk)
    assert other.settings.load()["smtp"].server == "mail.example.com"
    assert other.vault.read("smtp", "password") == PASSWORD


def test_a_change_by_another_process_is_noticed(fleet: Fleet, home: PostgresHome) -> None:
    records, other = Records(home), Records(fleet.home(home.device.tenant_name, home.device.name))
    records.change("smtp", SETTINGS, {})
    before = other.settings.version(), other.place.documents.configuration_version()
    assert other.settings.load()["smtp"].port is None
    records.change("smtp", {"port": 465}, {})
    assert other.settings.load()["smtp"].port == 465
    assert other.settings.version() != before[0]
    assert other.place.documents.configuration_version() != before[1]


def test_comments_stay(home: PostgresHome) -> None:
    home.documents.replace({"mailslot.toml": b'# by hand\n[records.smtp]\nserver = "a.example.com" # old\n'})
    Records(home).change("smtp", {"port": 465}, {})
    assert (home.documents.read("mailslot.toml", 10_000) or b"").startswith(b"# by hand\n")


def test_changes_come_one_after_the_other(home: PostgresHome) -> None:
    counts = threading.Barrier(4)

    def count() -> None:
        counts.wait()
        for _ in range(10):
            with home.documents.exclusive():
                number = int(home.documents.read("number", 100) or b"0")
                home.documents.replace({"number": b"%d" % (number + 1)})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert home.documents.read("number", 100) == b"40"


def test_a_secret_opens_only_at_its_place(fleet: Fleet, home: PostgresHome) -> None:
    other = fleet.add_device(home.device.tenant_name)
    Records(home).vault.write("smtp", {"password": PASSWORD})
    octets = home.documents.read("vault/smtp.json", 10_000)
    assert octets is not None
    assert b"open sesame" not in octets
    other.documents.replace({"vault/smtp.json": octets})
    with pytest.raises(VaultError, match="damaged"):
        Records(other).vault.read("smtp", "password")


def test_with_a_tenants_key_its_secrets_are_gone(fleet: Fleet) -> None:
    home = fleet.add_device("shredded")
    Records(home).vault.write("smtp", {"password": PASSWORD})
    sealed = parse(home.documents.read("vault/smtp.json", 10_000) or b"")["password"]
    assert sealed.key
    with fleet.database.connection() as connection:
        connection.execute(
            f"DELETE FROM {SCHEMA}.data_keys USING {SCHEMA}.tenants WHERE tenants.id = tenant AND name = 'shredded'"
        )
    again = Records(fleet.home("shredded", home.device.name))
    with pytest.raises(VaultError, match="was deleted"):
        again.vault.read("smtp", "password")
    with pytest.raises(VaultError, match="was deleted"):
        again.vault.write("smtp", {"password": PASSWORD})


def test_a_wrapped_key_opens_for_its_tenant_only(fleet: Fleet) -> None:
    for tenant in ("first", "second"):
        fleet.add_device(tenant)
    with fleet.database.connection() as connection:
        connection.execute(
            f"UPDATE {SCHEMA}.data_keys SET master = other.master, wrapped = other.wrapped FROM {SCHEMA}.data_keys "
            f"AS other, {SCHEMA}.tenants AS a, {SCHEMA}.tenants AS b WHERE data_keys.tenant = a.id AND "
            "other.tenant = b.id AND a.name = 'first' AND b.name = 'second'"
        )
    device = fleet.add_device("first")
    with pytest.raises(VaultError, match="moved to another tenant"):
        device.keys.check()


def test_each_table_is_secured(fleet: Fleet) -> None:
    with fleet.database.connection() as connection:
        found = tables(connection)
        rows = connection.execute(
            "SELECT relname, relrowsecurity, EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid) AS policy "
            "FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = %s AND relkind = 'r' "
            "AND relname <> 'schema_version'",
            (SCHEMA,),
        ).fetchall()
        [role] = connection.execute(
            "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = %s", (ROLE,)
        ).fetchall()
    assert len(found) > 10
    assert {row["relname"]: (row["relrowsecurity"], row["policy"]) for row in rows} == {
        **dict.fromkeys(found, (True, True)),
        "staff_sessions": (True, False),
    }
    assert role == {"rolsuper": False, "rolbypassrls": False}


def test_work_for_one_tenant_sees_and_changes_no_other(fleet: Fleet) -> None:
    mine, theirs = fleet.add_device("mine"), fleet.add_device("theirs")
    theirs.documents.replace({"mailslot.toml": b"secret"})
    # What a fault of ours could do at worst: the tenant of one, the device of the other.
    crossed = DeviceId("mine", "x", mine.device.tenant, theirs.device.number)
    with fleet.database.device_transaction(crossed, "read") as connection:
        for table in tables(connection):
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
            assert all(row.get("tenant", row.get("id")) == mine.device.tenant for row in rows), table
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        fleet.database.device_transaction(crossed, "beside") as connection,
    ):
        connection.execute(
            "INSERT INTO memory (tenant, device, store, key, value) VALUES (%s, %s, 'x', 'x', '1')",
            (theirs.device.tenant, theirs.device.number),
        )
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        fleet.database.device_transaction(mine.device, "beside") as connection,
    ):
        connection.execute("DELETE FROM data_keys")


async def test_only_one_holds_a_lease(fleet: Fleet, home: PostgresHome) -> None:
    other = fleet.home(home.device.tenant_name, home.device.name)
    async with home.lock("service", timeout=0):
        assert other.is_locked("service")
        for each in (home, other):
            with pytest.raises(VaultError) as caught:
                async with each.lock("service", timeout=0):
                    pass
            assert caught.value.cause == "token_store_busy"
    assert not other.is_locked("service")
    async with other.lock("service", timeout=0):
        pass


async def test_who_has_lost_a_lease_cannot_write_any_more(fleet: Fleet, home: PostgresHome) -> None:
    """A worker that was thought dead comes back in the middle of a delivery."""
    other = fleet.home(home.device.tenant_name, home.device.name)
    async with Spool(home) as stale, Spool(other) as spool:
        job = await spool.accept(NewJob("scan", "smtp", "a@example.com", ["b@example.com"]), message())
        async with stale.delivery_lock():
            claimed = await stale.claim("smtp")
            assert claimed is not None
            expire_leases(fleet, home)
            async with spool.delivery_lock():
                assert (await spool.recover()).requeued == (job.id,)
                with pytest.raises(DatabaseLostError, match="taken over"):
                    await stale.hand_over(job.id)
                with pytest.raises(VaultError, match="taken over"):
                    home.documents.replace({"vault/smtp.json": b"{}"})
                assert (await spool.job(job.id)).state == "queued"
                assert stale.loss_error is not None


def test_a_device_that_was_removed(fleet: Fleet) -> None:
    home = fleet.add_device("leaving")
    Records(home).change("smtp", SETTINGS, {"password": PASSWORD})
    assert fleet.registry.remove("leaving", home.device.name)
    with pytest.raises(InputError, match="There is no device"):
        fleet.home("leaving", home.device.name)
    with pytest.raises(VaultError, match="not in the fleet any more"):
        home.documents.replace({"x": b"y"})
    with fleet.database.connection() as connection:
        rows = connection.execute(f"SELECT FROM {SCHEMA}.tenants WHERE name = 'leaving'").fetchall()
    assert rows == []


def test_a_device_that_is_added_while_the_last_other_one_is_removed(fleet: Fleet) -> None:
    first = fleet.add_device("changing")
    with fleet.database.connection() as connection, connection.transaction():
        tenant = connection.execute(f"SELECT id FROM {SCHEMA}.tenants WHERE name = 'changing' FOR SHARE").fetchone()
        assert tenant is not None
        removing = threading.Thread(target=fleet.registry.remove, args=("changing", first.device.name))
        removing.start()
        wait_until(lambda: somebody_waits(fleet))
        connection.execute(f"INSERT INTO {SCHEMA}.devices (tenant, name) VALUES (%s, 'second')", (tenant["id"],))
    removing.join()
    assert [each.device for each in fleet.registry.devices("changing")] == ["second"]


def somebody_waits(fleet: Fleet) -> bool:
    with fleet.database.connection() as connection:
        query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return connection.execute(query).fetchone() is not None


def expire_leases(fleet: Fleet, home: PostgresHome) -> None:
    with fleet.database.connection() as connection:
        connection.execute(
            f"UPDATE {SCHEMA}.leases SET until = now(), ended_at = '-infinity' WHERE device = %s",
            (home.device.number,),
        )


async def test_one_thread_keeps_the_leases_of_all_devices(fleet: Fleet) -> None:
    keeper = LeaseKeeper(fleet.database)
    devices = [fleet.add_device(tenant).device for tenant in ("acme", "acme", "other")]
    held = [HeldLeases(fleet.database, device, keeper) for device in devices]
    async with AsyncExitStack() as stack:
        for each in held:
            await stack.enter_async_context(each.lease("service", timeout=0))
        assert sum(thread.name == "leases" for thread in threading.enumerate()) == 1
        query = f"UPDATE {SCHEMA}.leases SET until = now() + interval '1 s' WHERE device = ANY(%s)"
        with fleet.database.connection() as connection:
            connection.execute(query, ([device.number for device in devices],))
        keeper.move_on()
        with fleet.database.connection() as connection:
            query = f"SELECT min(until - now()) > interval '30 s' AS kept FROM {SCHEMA}.leases WHERE device = ANY(%s)"
            assert connection.execute(query, ([device.number for device in devices],)).fetchall() == [{"kept": True}]
