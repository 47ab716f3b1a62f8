"""Connections to the database that break, also in the middle of a commit: nothing is lost or done twice."""

from __future__ import annotations

import math
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Literal

import pytest

from fleet.test_transfer import make_device
from lab.process import free_ports, wait_until
from mailslot.errors import InputError
from mailslot.fleet.address import DeviceAddress
from mailslot.fleet.postgres.database import _REMEMBERED, FleetDatabase, _Write
from mailslot.fleet.postgres.home import PostgresHome
from mailslot.fleet.postgres.lease_keeper import LeaseKeeper
from mailslot.fleet.postgres.leases import HeldLeases
from mailslot.fleet.postgres.messages import PIECE_SIZE
from mailslot.fleet.postgres.registry import Registry
from mailslot.fleet.postgres.rows import DeviceRows
from mailslot.fleet.transfer import ImportInDoubtError, import_folder
from mailslot.home.folder import FolderHome
from mailslot.oauth.grant import Grant
from mailslot.slots.records import Records
from mailslot.spool.errors import SpoolError
from mailslot.spool.spool import Spool
from mailslot.vault.errors import LostHomeError, VaultError
from mailslot.wire.secret import Secret
from spool.conftest import message, new, octets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from lab.postgres import Fleet


class Proxy:
    """Passes octets between clients and the database; breaks one connection at the commit of a transaction.

    Attributes:
        breaks: whether before the commit reaches the database, or after it has answered; None for neither.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self.breaks: Literal["before", "after"] | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server)) as server:
            threading.Thread(target=copy, args=(server, client), daemon=True).start()
            with suppress(OSError):
                while data := client.recv(65_536):
                    # Not the one in READ COMMITTED, with which a transaction begins.
                    if b"COMMIT\0" in data and (breaks := self.breaks) is not None:
                        self.breaks = None
                        # The answer must not be passed on.
                        client.shutdown(socket.SHUT_RDWR)
                        if breaks == "after":
                            server.sendall(data)
                            server.recv(1)
                        # Closing is not enough while the other thread reads from it.
                        server.shutdown(socket.SHUT_RDWR)
                        return
                    server.sendall(data)


def copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)


@contextmanager
def proxied(fleet: Fleet) -> Iterator[tuple[Proxy, PostgresHome]]:
    """A device whose database is reached through a proxy."""
    home = fleet.add_device()
    port = int(fleet.url.rpartition(":")[2].partition("/")[0])
    proxy = Proxy(port)
    url = fleet.url.replace(f":{port}/", f":{proxy.listener.getsockname()[1]}/")
    # With one connection, whoever waits for another one while it has one waits forever.
    database = FleetDatabase(url, connections=1)
    address = DeviceAddress(url, home.device.tenant_name, home.device.name)
    try:
        yield proxy, PostgresHome(database, home.device, address, fleet.master, home.folder)
    finally:
        database.close()
        proxy.listener.close()


@pytest.mark.parametrize("breaks", ["before", "after"])
async def test_a_connection_breaks_at_a_commit(fleet: Fleet, breaks: Literal["before", "after"]) -> None:
    with proxied(fleet) as (proxy, home):
        async with Spool(home) as spool:
            proxy.breaks = breaks
            job = await spool.accept(new(), message(b"Subject: once\r\n\r\n"))
            assert proxy.breaks is None
            assert [each.id for each in await spool.jobs()] == [job.id] == [1]
            assert await octets(spool.content(job)) == b"Subject: once\r\n\r\n"
        proxy.breaks = breaks
        if breaks == "after":
            Records(home).change("smtp", {"server": "mail.example.com"}, {"password": Secret("hush")})
            assert Records(home).settings.load()["smtp"].server == "mail.example.com"


async def test_a_lease_whose_release_failed_ends(fleet: Fleet) -> None:
    with proxied(fleet) as (proxy, home):
        async with home.lock("service", timeout=0):
            async with home.lock("smtp", timeout=0):
                proxy.breaks = "before"
            assert proxy.breaks is None
            before = lease_ends(fleet, home)
            assert set(before) == {"service", "smtp"}
            home.leases._keeper.move_on()
            after = lease_ends(fleet, home)
            assert after["service"] > before["service"]
            assert after["smtp"] == before["smtp"]
            # This process knows that nobody else has it.
            async with home.lock("smtp", timeout=0):
                assert lease_ends(fleet, home)["smtp"] > before["smtp"]
        assert lease_ends(fleet, home) == {}


async def test_a_lease_may_be_taken_or_not(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxied(fleet) as (proxy, home):
        with monkeypatch.context() as patch:
            patch.setattr("mailslot.fleet.postgres.database._IN_DOUBT", 0)
            proxy.breaks = "after"
            with pytest.raises(VaultError, match="cannot be taken"):
                async with home.lock("smtp", timeout=0):
                    pass
        async with home.lock("smtp", timeout=0):
            pass


async def test_a_folder_may_be_moved_or_not(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two places must not have the same token, so the folder stays the copy."""
    await make_device(tmp_path)
    monkeypatch.setattr("mailslot.fleet.postgres.database._IN_DOUBT", 0)
    with proxied(fleet) as (proxy, home):
        proxy.breaks = "after"
        with pytest.raises(ImportInDoubtError, match="unknown whether"):
            import_folder(FolderHome(tmp_path), home, home._database)
        grant = await Records(tmp_path).tokens.store("smtp").load()
        assert grant is not None
        assert grant.location == home.locate("smtp")


def lease_ends(fleet: Fleet, home: PostgresHome) -> dict[str, datetime]:
    with fleet.database.device_transaction(home.device, "read") as connection:
        found = connection.execute("SELECT name, until FROM leases WHERE device = %s", (home.device.number,)).fetchall()
    return {row["name"]: row["until"] for row in found}


def test_a_process_that_stops_in_a_transaction_does_not_block_the_device(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailslot.fleet.postgres.database._IDLE_TIMEOUT", "100ms")
    home = fleet.add_device()
    other = fleet.home(home.device.tenant_name, home.device.name)

    def stop() -> None:
        with home.documents.exclusive():
            home.documents.replace({"x": b"stopped"})
            in_thread(lambda: other.documents.replace({"x": b"other"}))

    with pytest.raises(VaultError) as caught:
        stop()
    assert caught.value.retryable
    assert home.documents.read("x", 100) == b"other"


def in_thread(run: Callable[[], None]) -> None:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("{url}-missing", 'database "[a-z0-9-]*-missing" does not exist'),
        ("postgresql://hush@127.0.0.1:{port}/x", "refused"),
        ("postgresql://ann:hush@[::1/x", "not understood"),
        ("postgresql://ann:hu/hush@db/x", "not understood"),
        ("postgresql://db/x?hush", "not understood"),
    ],
)
def test_an_address_that_is_wrong(fleet: Fleet, caplog: pytest.LogCaptureFixture, address: str, reason: str) -> None:
    [port] = free_ports(1)
    with pytest.raises(InputError, match=reason) as caught:
        Registry(FleetDatabase(address.format(url=fleet.url, port=port))).devices()
    assert "hush" not in f"{caught.value} {caught.value.detail} {caplog.text}"


async def test_connections_that_were_cut_are_replaced(fleet: Fleet) -> None:
    home = fleet.add_device()
    async with Spool(home) as spool:
        await spool.accept(new(), message())
        for _ in range(2):
            with fleet.database.connection() as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            await spool.accept(new(), message())
        assert len(await spool.jobs()) == 3


async def test_a_database_that_is_gone(fleet: Fleet) -> None:
    [port] = free_ports(1)
    device = fleet.add_device().device
    url = f"postgresql://postgres:hush@127.0.0.1:{port}/x"
    database = FleetDatabase(url)
    home = PostgresHome(database, device, DeviceAddress(url, "acme", "x"), fleet.master, fleet.folder)
    with pytest.raises(SpoolError, match="the database does not answer") as caught:
        async with Spool(home):
            pass
    assert caught.value.retryable
    assert "hush" not in f"{caught.value} {caught.value.detail} {home.name} {home!r}"
    database.close()


def test_what_became_of_a_commit_is_told_by_its_device(fleet: Fleet) -> None:
    """Also if a standby has taken over, where the number of a lost transaction may be that of another one."""
    device = fleet.add_device().device

    def write() -> _Write:
        with fleet.database.device_transaction(device) as connection:
            row = connection.execute(
                "SELECT changes, last_writes[1] AS token FROM device_state WHERE device = %s", (device.number,)
            ).fetchone()
        assert row is not None
        return _Write(row["changes"], row["token"])

    kept = write()
    lost = _Write(kept.number + 1, kept.token - 1)
    for _ in range(_REMEMBERED - 1):
        assert fleet.database._took_place(device, kept) is True
        assert fleet.database._took_place(device, lost) is False
        write()
    write()
    assert fleet.database._took_place(device, kept) is None
    write()
    assert fleet.database._took_place(device, lost) is None


async def test_leases_that_ended_while_the_database_was_gone_are_left_to_their_holders(fleet: Fleet) -> None:
    home = fleet.add_device()
    other = fleet.home(home.device.tenant_name, home.device.name)

    def change(what: str) -> None:
        with fleet.database.connection() as connection:
            connection.execute(f"UPDATE mailslot.leases SET {what} WHERE device = %s".encode(), (home.device.number,))

    async with home.lock("smtp", timeout=0):
        change("until = now() - interval '10 min'")
        assert other.is_locked("smtp") is False
        with pytest.raises(VaultError):
            async with other.lock("smtp", timeout=0):
                pass
        home.leases._keeper.move_on()
        assert other.is_locked("smtp")
        change("until = now() - interval '10 min'")
        with pytest.raises(VaultError):
            async with other.lock("smtp", timeout=0):
                pass
        change("ended_at = ended_at - interval '1 min'")
        async with other.lock("smtp", timeout=0):
            with pytest.raises(LostHomeError, match="taken over"):
                home.documents.replace({"x": b"y"})


async def test_nobody_waits_for_a_lease_when_the_process_stops(fleet: Fleet) -> None:
    home = fleet.add_device()
    keeper = LeaseKeeper(fleet.database)
    waiting = HeldLeases(fleet.database, home.device, keeper)
    async with home.lock("smtp", timeout=0):
        keeper.stop_waiting()
        with pytest.raises(VaultError, match="this one stops"):
            async with waiting.lease("smtp", timeout=math.inf):
                pass


async def test_a_token_is_saved_once_the_database_is_back(fleet: Fleet) -> None:
    """The provider may have used the stored one up."""
    with proxied(fleet) as (proxy, home):
        store = Records(home).tokens.store("smtp")
        grant = Grant(
            flow="browser",
            access_token=None,
            expires_at=None,
            refresh_token=Secret("new"),
            scopes=(),
            obtained_at=0.0,
            renewed_at=0.0,
        )
        async with store.lock():
            proxy.breaks = "before"
            await store.save(grant)
            assert proxy.breaks is None
        assert await store.load() == grant


def test_the_database_refuses_a_message_in_the_middle(fleet: Fleet) -> None:
    """As when its disk is full."""
    storage = fleet.add_device().spool_storage()
    storage.open()
    file = storage.new_file(".eml")
    file.write(bytes(2 * PIECE_SIZE))
    refused: list[SpoolError] = []

    def commit() -> None:
        try:
            storage.commit_file(file, b"", lambda _: None)
        except SpoolError as error:
            refused.append(error)

    with fleet.database.connection() as connection:
        connection.execute("ALTER TABLE mailslot.messages ADD CONSTRAINT short CHECK (piece < 1) NOT VALID")
        try:
            thread = threading.Thread(target=commit, daemon=True)
            thread.start()
            thread.join(120)
        finally:
            connection.execute("ALTER TABLE mailslot.messages DROP CONSTRAINT short")
    assert not thread.is_alive()
    assert len(refused) == 1
    storage.close()


@pytest.mark.parametrize("whole", [True, False], ids=["its tenant", "alone"])
def test_a_device_is_removed_while_a_worker_writes(fleet: Fleet, whole: bool) -> None:
    home = fleet.add_device("leaving")
    registry, name = fleet.registry, home.device.name
    remove = partial(registry.remove_tenant, "leaving") if whole else partial(registry.remove, "leaving", name)

    def is_waiting() -> bool:
        query = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        with fleet.database.connection() as connection:
            return connection.execute(query).fetchone() is not None

    with ThreadPoolExecutor(1) as pool:
        with fleet.database.device_transaction(home.device) as connection:
            removed = pool.submit(remove)
            wait_until(is_waiting)
            rows = DeviceRows(connection, home.device)
            rows.execute("SELECT hasten(%(tenant)s, %(device)s, '', 'plan', now())")
        assert removed.result()
    assert "leaving" not in {each.tenant for each in registry.devices()}
