"""A server that is down is tried by one device at a time, whichever tenant and worker it is of."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from anyio.to_thread import run_sync

from fleet.test_tasks import accept, load, obtain, state_of
from mailslot.errors import NetworkError, RefusedError
from mailslot.fleet.breakers import is_down
from mailslot.fleet.postgres import servers
from mailslot.fleet.postgres.servers import FAILURES, TENANTS
from mailslot.oauth.timing import Clocks
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError
from mailslot.slots.records import Records
from mailslot.wire.secret import Secret
from mailslot_plugins.sandbox import run_sandbox
from mailslot_plugins.sandbox.web_faults import WebFault
from service.polling_device import RECORD, RecordingPipeline
from service.sending_device import SENDER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from fleet.tasks import TaskFleet
    from mailslot.errors import MailError
    from mailslot.fleet.device_work import DeviceWork
    from mailslot.fleet.postgres.home import PostgresHome

IMPATIENT = Clocks(sleep=lambda _: anyio.lowlevel.checkpoint())
"""Clocks by which a provider that has refused is asked again at once."""


class Door:
    """A mail server's port, which hangs up on everybody until it has a server behind it.

    Attributes:
        visits: how many have connected.
    """

    def __init__(self, listener: anyio.abc.Listener[anyio.abc.SocketStream]) -> None:
        self._listener = listener
        self.port: int = listener.extra(anyio.abc.SocketAttribute.local_port)
        self.visits = 0
        self.behind: int | None = None

    async def serve(self) -> None:
        await self._listener.serve(self._answer)

    async def _answer(self, client: anyio.abc.ByteStream) -> None:
        self.visits += 1
        async with client:
            if self.behind is None:
                return
            async with await anyio.connect_tcp("127.0.0.1", self.behind) as server, anyio.create_task_group() as group:
                for source, target in ((client, server), (server, client)):
                    group.start_soon(copy, source, target, group.cancel_scope)


async def copy(source: anyio.abc.ByteStream, target: anyio.abc.ByteStream, scope: anyio.CancelScope) -> None:
    try:
        async for octets in source:
            await target.send(octets)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    scope.cancel()


@asynccontextmanager
async def open_door() -> AsyncIterator[Door]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        door = Door(listener.listeners[0])
        group.start_soon(door.serve)
        yield door
        group.cancel_scope.cancel()


async def add_device(own: TaskFleet, tenant: str, port: int, authorities: bytes = b"") -> PostgresHome:
    home = own.add_device(tenant)
    ca_file = own.folder / "ca.pem"
    ca_file.write_bytes(authorities)
    settings = {
        "server": "localhost",
        "port": port,
        "security": "tls",
        "ca_file": str(ca_file) if authorities else None,
        "authentication": "password",
        "account": "status@example.com",
        "timeout": 60,
        "first_poll": "all",
        "check_interval": 10,
    }
    await run_sync(Records(home).change, RECORD, settings, {"password": Secret("open sesame")})
    await wake(own.work(RecordingPipeline()), home, "plan")
    return home


async def wake(work: DeviceWork, home: PostgresHome, kind: str, record: str = "") -> None:
    await work.wake(home.device.tenant_name, home.device.name, record, kind)


async def poll(own: TaskFleet, work: DeviceWork, *homes: PostgresHome) -> None:
    """Let a worker poll devices, all at once."""
    for home in homes:
        own.make_due(home, "poll")
    async with anyio.create_task_group() as group:
        for home in homes:
            group.start_soon(wake, work, home, "poll", RECORD)


def cause_of(own: TaskFleet, home: PostgresHome) -> str | None:
    cause: str | None = own.tasks(home)[RECORD, "poll"]["cause"]
    return cause


def end_pauses(own: TaskFleet) -> None:
    with own.look() as connection:
        connection.execute("UPDATE servers SET until = now() WHERE until IS NOT NULL")


def lengthen_pauses(own: TaskFleet) -> None:
    """Let no pause end by itself on a slow machine."""
    with own.look() as connection:
        connection.execute("UPDATE servers SET until = until + interval '1 hour' WHERE until IS NOT NULL")


def openings(own: TaskFleet, port: int) -> list[int]:
    """How many pauses there were, by tenant, of the server with this port; nothing if it has answered."""
    return sorted(state.openings for state in servers.find(own.database, f"localhost:{port}"))


async def test_a_server_that_is_down(own: TaskFleet) -> None:
    async with open_door() as door, run_sandbox() as sandbox:
        tenants = [own.new_tenant() for _ in range(TENANTS + 1)]
        homes = [await add_device(own, tenant, door.port, sandbox.ca_pem) for tenant in tenants for _ in range(2)]
        worker = own.work(RecordingPipeline())
        for home in homes[: 2 * TENANTS : 2]:
            await poll(own, worker, home)
        lengthen_pauses(own)
        await poll(own, worker, homes[-2])
        assert door.visits == TENANTS
        assert {cause_of(own, home) for home in homes[::2]} == {"tls_failed"}
        other = own.work(RecordingPipeline())
        await poll(own, worker, *homes)
        await poll(own, other, *homes)
        assert door.visits == TENANTS
        # One of them all tries it again, and in vain.
        end_pauses(own)
        await poll(own, own.work(RecordingPipeline()), *homes)
        lengthen_pauses(own)
        await poll(own, own.work(RecordingPipeline()), *homes)
        assert door.visits == TENANTS + 1
        assert openings(own, door.port) == [0, 0, 2]
        end_pauses(own)
        door.behind = sandbox.pop3s.port
        probing = own.work(RecordingPipeline())
        await poll(own, probing, homes[0])
        assert cause_of(own, homes[0]) is None
        assert not openings(own, door.port)
        for home in homes:
            await poll(own, probing, home)
        assert {cause_of(own, home) for home in homes} == {None}


async def test_one_tenant_cannot_stop_a_server_for_another(own: TaskFleet) -> None:
    async with open_door() as door:
        large, small = own.new_tenant(), own.new_tenant()
        homes = [await add_device(own, large, door.port) for _ in range(FAILURES + 3)]
        other = await add_device(own, small, door.port)
        worker = own.work(RecordingPipeline())
        for home in homes[:FAILURES]:
            await poll(own, worker, home)
        lengthen_pauses(own)
        await poll(own, own.work(RecordingPipeline()), *homes)
        assert door.visits == FAILURES
        await poll(own, worker, other)
        assert door.visits == FAILURES + 1
        # Mail to be sent goes by the same breaker.
        server = {"server": "localhost", "port": door.port, "security": "tls", "sender_address": SENDER}
        await run_sync(Records(homes[0]).change, "smtp", server, {})
        job = await accept(homes[0])
        await wake(worker, homes[0], "deliver")
        assert await state_of(homes[0], job) == ("deferred", "tls_failed")
        assert door.visits == FAILURES + 1


async def test_a_token_service_that_is_down(own: TaskFleet, tmp_path: Path) -> None:
    async with run_sandbox() as sandbox:
        sandbox.provider.rotation = "strict"
        homes = [own.add_device(own.new_tenant()) for _ in range(TENANTS + 2)]
        for number, home in enumerate(homes):
            await obtain(home, sandbox, tmp_path / str(number))
            await wake(own.work(RecordingPipeline()), home, "plan")
        service = sandbox.token_service
        service.faults.append(WebFault("token", act=False))
        worker = own.work(RecordingPipeline(), clocks=IMPATIENT)
        await renew(own, worker, *homes[:TENANTS])
        lengthen_pauses(own)
        await renew(own, own.work(RecordingPipeline()), *homes[TENANTS:])
        # A device asks three times before it gives up; the last one is stopped after the first time.
        assert service.requests.count("token refresh_token 503") == 3 * (TENANTS - 1) + 1
        # Who was not let through looks again after the pause, and not every few seconds.
        assert own.tasks(homes[-1])[RECORD, "renew"]["due_in"] > 3000
        service.faults.clear()
        end_pauses(own)
        probing = own.work(RecordingPipeline())
        await renew(own, probing, homes[-1])
        assert not openings(own, int(sandbox.issuer.rpartition(":")[2]))
        await renew(own, probing, homes[-2])
        assert service.requests.count("token refresh_token 200") == 2


async def renew(own: TaskFleet, work: DeviceWork, *homes: PostgresHome) -> None:
    for home in homes:
        own.make_due(home, "renew")
        await wake(work, home, "renew", RECORD)


async def test_dead_grants_are_polled_seldom(own: TaskFleet, tmp_path: Path) -> None:
    """A tenant whose grants have all ended costs little; a new grant is tried at once."""
    home = own.add_device(own.new_tenant())
    # The provider is asked twice before a grant counts as dead.
    worker = own.work(RecordingPipeline(), clocks=IMPATIENT)
    async with run_sandbox() as sandbox:
        await obtain(home, sandbox, tmp_path)
        await wake(worker, home, "plan")
        sandbox.provider.revoke((await load(home)).refresh_token or "")
        await renew(own, worker, home)
        own.make_due(home, "poll")
        await wake(worker, home, "poll", RECORD)
        dead = own.tasks(home)[RECORD, "poll"]
        assert dead["cause"] == "token_update_failed"
        assert dead["due_in"] > 3000
        await obtain(home, sandbox, tmp_path)
        await wake(worker, home, "plan")
        assert own.tasks(home)[RECORD, "poll"]["due_in"] <= 0


@pytest.mark.parametrize(
    ("error", "down"),
    [
        (NetworkError("", stage="connect", cause="connection_refused"), True),
        (NetworkError("", stage="greeting", cause="connection_lost"), True),
        (NetworkError("", stage="tls", cause="tls_failed", retryable=True), True),
        (NetworkError("", stage="tls", cause="tls_failed"), False),
        (NetworkError("", stage="tls", cause="certificate_untrusted"), False),
        (NetworkError("", stage="transaction", cause="connection_lost"), False),
        (RefusedError("", stage="greeting", cause="server_busy"), True),
        (RefusedError("", stage="sign_in", cause="password_refused"), False),
        (TokenServiceError("", cause="token_service_unreachable", remedy=Remedy.WAIT), True),
        (TokenServiceError("", cause="token_service_busy", remedy=Remedy.WAIT, status=503), True),
        # It asks one client to slow down.
        (TokenServiceError("", cause="token_service_busy", remedy=Remedy.WAIT, status=429), False),
        (TokenServiceError("", cause="token_not_renewable", remedy=Remedy.NEW_GRANT, status=400), False),
    ],
)
def test_what_counts_as_down(error: MailError, down: bool) -> None:
    assert is_down(error) is down
