"""Keys are exchanged while workers run, and by commands that are stopped at any step: no secret is ever unreadable."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from base64 import b64encode
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from anyio.to_thread import run_sync

from command_line import mailslot
from fleet.key_service import TOKEN, run_key_service
from lab.postgres import Fleet, programs
from mailslot.fleet.address import DeviceAddress
from mailslot.fleet.key_cache import KeyCache
from mailslot.fleet.key_rotation import rewrap_keys, rotate_tenant_key
from mailslot.fleet.key_service import KeyServiceClient
from mailslot.fleet.master_key import FileMasterKey, MasterKeys
from mailslot.fleet.postgres.database import FleetDatabase
from mailslot.fleet.postgres.home import PostgresHome, find_device
from mailslot.fleet.postgres.key_registry import KeyRegistry
from mailslot.fleet.postgres.keys import new_data_key
from mailslot.fleet.postgres.schema import SCHEMA
from mailslot.fleet.transit import TransitMasterKey
from mailslot.service.device import open_device
from mailslot.service.worker import Worker
from mailslot.slots.records import Records
from mailslot.vault.errors import VaultError
from mailslot.vault.record import parse
from mailslot.wire.secret import Secret
from spool.conftest import message, new

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.postgres import Postgres

KILLED = """
import os, signal, sys
from pathlib import Path
from mailslot.fleet.key_rotation import rotate_tenant_key
from mailslot.fleet.master_key import FileMasterKey
from mailslot.fleet.postgres.database import FleetDatabase

def kill(step):
    if step == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

rotate_tenant_key(FleetDatabase(sys.argv[1]), "acme", FileMasterKey(Path(sys.argv[2])), kill)
"""


class Stopped(BaseException):
    """The command was stopped after a step."""


def stop_after(number: int) -> Callable[[str], None]:
    left = [number]

    def step(_: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Stopped

    return step


@pytest.fixture
def fleet(postgres: Postgres, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet of its own, with three devices of one tenant and one of another, whose passwords are their names."""
    fleet = Fleet(postgres.create_database(), tmp_path / "fleet")
    for tenant in ("acme", "acme", "acme", "other"):
        home = fleet.add_device(tenant)
        for record in ("smtp", "fax-pop"):
            Records(home).vault.write(record, {"password": Secret(home.device.name), "client_secret": Secret("x")})
    yield fleet
    fleet.database.close()


def homes(fleet: Fleet) -> list[PostgresHome]:
    return [fleet.home(each.tenant, each.device) for each in fleet.registry.devices()]


def readable(found: list[PostgresHome]) -> bool:
    return all(
        Records(home).vault.read(record, "password") == Secret(home.device.name)
        for home in found
        for record in ("smtp", "fax-pop")
    )


def key_ids(fleet: Fleet, tenant: str) -> set[str]:
    return {key.id for key in KeyRegistry(fleet.database).all(tenant)}


def used_keys(fleet: Fleet, tenant: str) -> set[str]:
    """The ids of the keys that the documents of a tenant need."""
    with fleet.database.connection() as connection:
        found = connection.execute(
            f"SELECT octets, key FROM {SCHEMA}.documents JOIN {SCHEMA}.seals USING (device, name) "
            f"JOIN {SCHEMA}.tenants ON tenants.id = documents.tenant WHERE tenants.name = %s",
            (tenant,),
        ).fetchall()
    return {row["key"] for row in found} | {value.key for row in found for value in parse(row["octets"]).values()}


@contextmanager
def working(fleet: Fleet) -> Iterator[None]:
    """Workers that use the secrets of all devices all the time, and change one of each."""
    stopped, began = threading.Event(), threading.Barrier(3)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            mine = homes(fleet)
            began.wait()
            while not stopped.is_set():
                assert readable(mine)
                for home in mine:
                    Records(home).vault.write("smtp", {f"refresh{number}": Secret("renewed")})
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            failures.append(error)
            began.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        began.wait()
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_tenant_gets_another_data_key(fleet: Fleet) -> None:
    old, others = key_ids(fleet, "acme"), key_ids(fleet, "other")
    steps: list[str] = []
    with working(fleet):
        # The key is added, three devices follow, and the old one is dropped.
        for number in (1, 1, 2, 3):
            with pytest.raises(Stopped):
                rotate_tenant_key(fleet.database, "acme", fleet.master, stop_after(number))
            assert readable(homes(fleet))
            assert len(key_ids(fleet, "acme")) == 2
        rotate_tenant_key(fleet.database, "acme", fleet.master, steps.append)
        assert readable(homes(fleet))
    assert steps == ["acme/copier-1", "acme/copier-2", "acme/copier-3", "the old key was dropped"]
    assert key_ids(fleet, "acme") == used_keys(fleet, "acme")
    assert not key_ids(fleet, "acme") & old
    assert key_ids(fleet, "other") == used_keys(fleet, "other") == others
    assert readable(homes(fleet))


def test_a_command_that_is_killed(fleet: Fleet) -> None:
    arguments = [sys.executable, "-c", KILLED, fleet.url, str(fleet.master.file), "acme/copier-2"]
    killed = subprocess.run(arguments, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(used_keys(fleet, "acme")) == len(key_ids(fleet, "acme")) == 2
    assert readable(homes(fleet))
    # Only what is left: two secrets in each of two records.
    assert rotate_tenant_key(fleet.database, "acme", fleet.master) == 4
    assert len(used_keys(fleet, "acme")) == len(key_ids(fleet, "acme")) == 1
    assert readable(homes(fleet))


def test_a_secret_that_cannot_be_read_keeps_its_key(fleet: Fleet) -> None:
    home = homes(fleet)[0]
    with fleet.database.connection() as connection:
        query = f"UPDATE {SCHEMA}.documents SET octets = 'x' WHERE device = %s AND name = 'vault/smtp.json'"
        connection.execute(query, (home.device.number,))
    with pytest.raises(VaultError, match="changed by another program"):
        rotate_tenant_key(fleet.database, "acme", fleet.master)
    assert len(key_ids(fleet, "acme")) == 2
    assert readable(homes(fleet)[1:])
    Records(home).vault.delete("smtp")
    rotate_tenant_key(fleet.database, "acme", fleet.master)
    assert len(key_ids(fleet, "acme")) == 1


def test_commands_that_follow_each_other(fleet: Fleet) -> None:
    """One that was slower than another drops no key that a third one needs yet."""
    registry = KeyRegistry(fleet.database)

    def step(done: str) -> None:
        if done != "acme/copier-3":
            return
        # Another command has come to its end, a third one has begun, and a worker has changed each document.
        assert registry.drop_older("acme", registry.all("acme")[0].id)
        assert registry.add("acme", *new_data_key(fleet.master, "acme"))
        for home in homes(fleet):
            for record in ("smtp", "fax-pop"):
                Records(home).vault.write(record, {"client_secret": Secret("renewed")})

    rotate_tenant_key(fleet.database, "acme", fleet.master, step)
    assert readable(homes(fleet))
    assert len(key_ids(fleet, "acme")) == 2
    rotate_tenant_key(fleet.database, "acme", fleet.master)
    assert len(key_ids(fleet, "acme")) == 1
    assert readable(homes(fleet))


def test_a_clock_that_was_set_back(fleet: Fleet) -> None:
    [old] = key_ids(fleet, "acme")
    with fleet.database.connection() as connection:
        connection.execute(f"UPDATE {SCHEMA}.data_keys SET added_at = now() + interval '1 day'")
    rotate_tenant_key(fleet.database, "acme", fleet.master)
    [new] = key_ids(fleet, "acme")
    assert used_keys(fleet, "acme") == {new} != {old}


def test_all_data_keys_are_wrapped_by_another_master_key(fleet: Fleet) -> None:
    file = fleet.master.file
    old = fleet.master.newest()
    with file.open("ab") as lines:
        lines.write(b64encode(b"n" * 32) + b"\n")
    file.write_bytes(b"".join(reversed(file.read_bytes().splitlines(keepends=True))))
    assert fleet.master.newest() != old
    with working(fleet):
        with pytest.raises(Stopped):
            rewrap_keys(fleet.database, fleet.master, stop_after(1))
        assert readable(homes(fleet))
        assert rewrap_keys(fleet.database, fleet.master) == 1
        assert rewrap_keys(fleet.database, fleet.master) == 0
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    assert readable(homes(fleet))


def test_from_a_file_to_a_key_service(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with run_key_service() as service:
        transit = TransitMasterKey(service.address, KeyServiceClient(tmp_path / "token"))
        both = MasterKeys(transit, fleet.master)
        assert rewrap_keys(fleet.database, both) == 2
        assert {key.wrapped.master for key in KeyRegistry(fleet.database).all()} == {"transit/keys/fleet:v1"}
        service.rotate()
        assert rewrap_keys(fleet.database, transit) == 2
        service.min_version = 2
        address = DeviceAddress(fleet.url, "acme", "copier-1")
        device = find_device(fleet.database, "acme", "copier-1")

        def worker(master: KeyCache) -> Records:
            return Records(PostgresHome(fleet.database, device, address, master, tmp_path))

        kept = KeyCache(transit)
        assert worker(kept).vault.read("smtp", "password") == Secret("copier-1")
        service.sealed = True
        # One that has worked for the tenant goes on, and can write; another cannot, and nothing is held for that.
        worker(kept).vault.write("smtp", {"password": Secret("renewed")})
        assert worker(kept).vault.read("smtp", "password") == Secret("renewed")
        with pytest.raises(VaultError, match="is sealed") as caught:
            worker(KeyCache(transit)).vault.read("smtp", "password")
        assert (caught.value.cause, caught.value.retryable) == ("token_store_unreachable", True)
        with pytest.raises(VaultError, match="is sealed"):
            worker(KeyCache(transit)).vault.write("smtp", {"password": Secret("lost")})


async def test_jobs_wait_until_the_master_key_is_there(fleet: Fleet, tmp_path: Path) -> None:
    """None is held for somebody, who could do nothing at the device."""
    home = fleet.home("acme", "copier-1")
    settings = {"server": "127.0.0.1", "authentication": "password", "account": "a@example.com"}
    await run_sync(Records(home).change, "smtp", settings, {})
    address = DeviceAddress(fleet.url, "acme", "copier-1")
    away = PostgresHome(fleet.database, home.device, address, FileMasterKey(tmp_path / "away.key"), tmp_path)
    async with open_device(Records(away)) as device:
        job = await device.spool.accept(new(), message())
        await Worker(device).work_once()
        found = await device.spool.job(job.id)
    assert (found.state, found.cause) == ("deferred", "token_store_unreachable")


def test_a_removed_tenant_cannot_be_decrypted_from_a_dump(fleet: Fleet, postgres: Postgres, tmp_path: Path) -> None:
    tools = programs()
    assert tools is not None
    dumps = {}
    for name, options in (("whole", []), ("without keys", ["--exclude-table-data=mailslot.data_keys"])):
        dumps[name] = subprocess.run(
            [tools / "pg_dump", "--dbname", fleet.url, *options], check=True, capture_output=True
        ).stdout
    assert fleet.registry.remove_tenant("acme") == 3
    assert [(each.tenant, each.device) for each in fleet.registry.devices()] == [("other", "copier-4")]
    with fleet.database.connection() as connection:
        for table in ("documents", "seals", "data_keys", "jobs"):
            found = connection.execute(f"SELECT count(*) AS number FROM {SCHEMA}.{table} WHERE tenant = 1").fetchone()
            assert found == {"number": 0}, table

    def restored(name: str) -> PostgresHome:
        url = postgres.create_database("template0")
        subprocess.run([tools / "psql", "--quiet", "--dbname", url], input=dumps[name], check=True, capture_output=True)
        database = FleetDatabase(url, connections=1)
        device = find_device(database, "acme", "copier-1")
        return PostgresHome(database, device, DeviceAddress(url, "acme", "copier-1"), fleet.master, tmp_path)

    without, whole = restored("without keys"), restored("whole")
    for record in ("smtp", "fax-pop"):
        with pytest.raises(VaultError, match="was deleted"):
            Records(without).vault.read(record, "password")
    # The whole dump has the wrapped key, which opens as long as the master key is there.
    assert Records(whole).vault.read("smtp", "password") == Secret("copier-1")
    new = FileMasterKey(tmp_path / "new.key")
    new.create()
    assert rewrap_keys(fleet.database, MasterKeys(new, fleet.master)) == 1
    fleet.master.file.write_bytes((tmp_path / "new.key").read_bytes())
    assert readable(homes(fleet))
    again = PostgresHome(
        whole._database, whole.device, DeviceAddress(fleet.url, "acme", "copier-1"), fleet.master, tmp_path
    )
    with pytest.raises(VaultError, match="does not contain the key"):
        Records(again).vault.read("smtp", "password")
    for home in (without, whole):
        home._database.close()


def test_commands(fleet: Fleet, tmp_path: Path) -> None:
    key = fleet.master.file
    environment = {
        "MAILSLOT_DATABASE": fleet.url,
        "MAILSLOT_MASTER_KEY": str(key),
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }

    def run(*words: object, code: int = 0, **more: str) -> Any:
        ran = mailslot(*words, **{**environment, **more})
        assert ran.returncode == code, ran.stderr
        return ran.stdout if code == 0 else ran.stderr

    old = {each.tenant: each for each in KeyRegistry(fleet.database).all()}
    key.write_bytes(b64encode(b"n" * 32) + b"\n" + key.read_bytes())
    assert json.loads(run("fleet", "rewrap", "--json"))["rewrapped"] == 2
    # Two secrets of two records of three devices.
    assert json.loads(run("fleet", "rotate-key", "acme", "--json")) == {"tenant": "acme", "encrypted": 12}
    new = {each["tenant"]: each for each in json.loads(run("fleet", "keys", "--json"))}
    assert new["acme"]["key"] != old["acme"].id
    assert new["other"]["key"] == old["other"].id
    assert new["other"]["master_key"] == fleet.master.newest() != old["other"].wrapped.master
    assert "There is no tenant" in run("fleet", "rotate-key", "unknown", code=2)

    # A user of the database for one tenant.
    assert "There is no user" in run("fleet", "allow", "mailslot_test_service", "--tenant", "acme", code=2)
    with psycopg.connect(fleet.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE mailslot_test_service LOGIN")
    run("fleet", "allow", "mailslot_test_service", "--tenant", "acme")
    theirs = f"{fleet.url.replace('postgres@', 'mailslot_test_service@')}?device="
    assert "password" in run("--home", f"{theirs}acme/copier-1", "show", "network.smtp")
    assert "There is no device" in run("--home", f"{theirs}other/copier-4", "show", "network.smtp", code=2)
    run("fleet", "forbid", "mailslot_test_service")

    assert "up to date" in run("fleet", "init")
    assert "unknown" in run("fleet", "remove", "unknown", "--yes", code=2)
    assert "Copies of the database" in run("fleet", "remove", "acme", "--yes")
    assert [each.tenant for each in KeyRegistry(fleet.database).all()] == ["other"]

    # A key service, whose token the service manager provides.
    (tmp_path / "mailslot.master-key-token").write_text(TOKEN)
    with run_key_service() as service:
        there = {"MAILSLOT_MASTER_KEY": service.address, "MAILSLOT_OLD_MASTER_KEY": str(key)}
        assert "TOKEN_FILE" in run("fleet", "rewrap", code=2, **there)
        there["CREDENTIALS_DIRECTORY"] = str(tmp_path)
        assert json.loads(run("fleet", "rewrap", "--json", **there)) == {
            "rewrapped": 1,
            "master_key": "transit/keys/fleet:v1",
        }
        del there["MAILSLOT_OLD_MASTER_KEY"]
        assert "transit/keys/fleet:v1" in run("fleet", "init", **there)
        service.sealed = True
        assert "is sealed: somebody must unseal it." in run("fleet", "rotate-key", "other", code=1, **there)
