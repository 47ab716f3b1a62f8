"""Connections to the database that break, also in the middle of a commit: nothing is lost or done twice."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

import pytest

from mailslot.fleet.address import DeviceAddress
from mailslot.fleet.postgres.database import FleetDatabase
from mailslot.fleet.postgres.home import PostgresHome
from mailslot.slots.records import Records
from mailslot.spool.errors import SpoolError
from mailslot.spool.spool import Spool
from spool.conftest import message, new, octets

if TYPE_CHECKING:
    from collections.abc import Iterator

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
                    if b"COMMIT" in data and (breaks := self.breaks) is not None:
                        self.breaks = None
                        # The answer must not be passed on.
                        client.shutdown(socket.SHUT_RDWR)
                        if breaks == "after":
                            server.sendall(data)
                            server.recv(1)
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
    database = FleetDatabase(url)
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
            Records(home).change("smtp", {"server": "mail.example.com"}, {})
            assert Records(home).settings.load()["smtp"].server == "mail.example.com"


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


async def test_a_database_that_is_gone(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailslot.fleet.postgres.database._WAIT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
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
