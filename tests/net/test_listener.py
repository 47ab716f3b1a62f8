"""Listeners: where they listen, whom they accept, and how they end."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from mailslot import InputError
from mailslot.net import socket_stream
from mailslot.net.listener import RECEIVE_SIZE, ConnectionLimits, Listener, open_listener, plain_address
from mailslot.net.socket_stream import InterruptedWaitError
from mailslot.net.waiter import AnyioWaiter

if TYPE_CHECKING:
    from mailslot.net.accepted import AcceptedConnection

pytestmark = pytest.mark.virtual_time


async def echo(connection: AcceptedConnection) -> None:
    while True:
        await connection.send(await connection.receive())


async def quiet_echo(connection: AcceptedConnection) -> None:
    try:
        await echo(connection)
    except (OSError, EOFError):
        return


async def test_a_port_of_the_system() -> None:
    listener = await open_listener("one", "127.0.0.1", 0)
    assert listener.port > 0
    listener.close()


async def test_the_same_port_on_all_addresses() -> None:
    listener = await open_listener("one", "", 0)
    assert {each.getsockname()[1] for each in listener._sockets} == {listener.port}
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, quiet_echo)
        for each in list(listener._sockets):
            host = "::1" if each.family == socket.AF_INET6 else "127.0.0.1"
            async with await anyio.connect_tcp(host, listener.port) as stream:
                await stream.send(b"x")
                assert await stream.receive() == b"x"
        listener.close()


@pytest.mark.parametrize(
    ("host", "reason"), [("192.0.2.77", "this machine has no such address"), ("no.such.invalid", "no such name")]
)
async def test_addresses_that_cannot_be_used(host: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        await open_listener("one", host, 0)
    assert caught.value.key == "listen"


async def test_a_port_in_use() -> None:
    listener = await open_listener("one", "127.0.0.1", 0)
    with pytest.raises(InputError, match="another program uses this port"):
        await open_listener("two", "127.0.0.1", listener.port)
    listener.close()


async def test_the_first_client_is_waited_for_and_left_to_be_served() -> None:
    listener = await open_listener("one", "localhost", 0)
    async with anyio.create_task_group() as group:
        async with await anyio.connect_tcp("127.0.0.1", listener.port) as stream:
            assert await listener.wait_for_client()
            assert await listener.wait_for_client(), "nothing was accepted"
            group.start_soon(listener.serve, quiet_echo)
            await stream.send(b"x")
            assert await stream.receive() == b"x"
        listener.close()
    assert not await listener.wait_for_client()


async def test_a_listener_that_is_closed_before_any_client_comes() -> None:
    listener = await open_listener("one", "localhost", 0)
    found: list[bool] = []

    async def wait() -> None:
        found.append(await listener.wait_for_client())

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        listener.close()
    assert found == [False]


async def test_peers_and_limits() -> None:
    peers = []

    async def handle(connection: AcceptedConnection) -> None:
        peers.append(connection.peer)
        await quiet_echo(connection)

    listener = await open_listener("one", "127.0.0.1", 0, ConnectionLimits(per_address=2))
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: listener.serve(handle, too_many=b"full"))
        first = await anyio.connect_tcp("127.0.0.1", listener.port)
        second = await anyio.connect_tcp("127.0.0.1", listener.port)
        async with await anyio.connect_tcp("127.0.0.1", listener.port) as third:
            assert await third.receive() == b"full"
            with pytest.raises(anyio.EndOfStream):
                await third.receive()
        assert (listener.connections, listener.refused) == (2, 1)
        assert [peer.address for peer in peers] == ["127.0.0.1"] * 2
        assert [peer.listener for peer in peers] == ["one"] * 2
        local = first.extra(anyio.abc.SocketAttribute.local_address)
        assert (peers[0].port, peers[0].local_port) == (local[1], listener.port)
        await first.aclose()
        await anyio.sleep(1)
        assert listener.connections == 1
        await second.aclose()
        listener.close()
    assert listener.connections == 0


async def test_an_error_on_one_connection_is_logged_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(connection: AcceptedConnection) -> None:
        if await connection.receive() == b"bad":
            raise RuntimeError("boom")
        await connection.send(b"good")

    listener = await open_listener("one", "127.0.0.1", 0)
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        async with await anyio.connect_tcp("127.0.0.1", listener.port) as stream:
            await stream.send(b"bad")
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
        async with await anyio.connect_tcp("127.0.0.1", listener.port) as stream:
            await stream.send(b"good")
            assert await stream.receive() == b"good"
        listener.close()
    assert "boom" in caplog.text


async def test_closing_before_and_while_it_serves() -> None:
    listener = await open_listener("one", "127.0.0.1", 0)
    listener.close()
    listener.close()
    with anyio.fail_after(60):
        await listener.serve(quiet_echo)
    listener = await open_listener("one", "127.0.0.1", 0)
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, quiet_echo)
        stream = await anyio.connect_tcp("127.0.0.1", listener.port)
        await stream.send(b"x")
        await stream.receive()
        listener.close()
        # What exists goes on.
        await stream.send(b"y")
        assert await stream.receive() == b"y"
        await stream.aclose()


async def test_cancelled_before_a_connection_is_served() -> None:
    listener = await open_listener("one", "127.0.0.1", 0)
    with anyio.CancelScope() as scope:
        client = socket.create_connection(("127.0.0.1", listener.port))

        async def handle(connection: AcceptedConnection) -> None:
            await anyio.sleep(3_600)

        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, handle)
            await anyio.sleep(1)
            scope.cancel()
    assert client.recv(1) == b""
    client.close()
    assert listener._sockets[0].fileno() < 0


async def test_many_connections_receive_less_at_once() -> None:
    """Each may hold what it received last while the disk is busy."""
    received: list[int] = []
    total = 60 * 100_000
    complete = anyio.Event()

    async def handle(connection: AcceptedConnection) -> None:
        with suppress(EOFError):
            while True:
                received.append(len(await connection.receive()))
                if sum(received) == total:
                    complete.set()

    listener = await open_listener("one", "127.0.0.1", 0, ConnectionLimits(200, 200))
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        streams = [await anyio.connect_tcp("127.0.0.1", listener.port) for _ in range(60)]
        for stream in streams:
            group.start_soon(stream.send, b"x" * 100_000)
        await complete.wait()
        for stream in streams:
            await stream.aclose()
        listener.close()
    assert sum(size > 8_192 for size in received) <= 50 * (100_000 // 8_192)
    # As many octets as had come, which is up to the system, and more than the others received at once.
    assert 8_192 < max(received) <= RECEIVE_SIZE


class FailingSocket(socket.socket):
    """A listening socket whose first `accept` calls fail."""

    failures: list[int]

    def accept(self) -> Any:
        if self.failures:
            raise OSError(self.failures.pop(0), "out of something")
        return super().accept()


async def test_errors_of_accept(caplog: pytest.LogCaptureFixture) -> None:
    listening = FailingSocket(socket.AF_INET, socket.SOCK_STREAM)
    listening.failures = [errno.EMFILE, errno.EMFILE, errno.ENFILE, errno.ECONNABORTED]
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    listening.settimeout(0)
    listener = Listener("one", [listening], ConnectionLimits())
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, quiet_echo)
        async with await anyio.connect_tcp("127.0.0.1", listener.port) as stream:
            await stream.send(b"x")
            assert await stream.receive() == b"x"
        listener.close()
    assert caplog.text.count("cannot accept a connection") == 1


@pytest.mark.parametrize("waiter", ["of the loop", "of anyio"])
async def test_an_interrupted_wait_loses_nothing(monkeypatch: pytest.MonkeyPatch, waiter: str) -> None:
    if waiter == "of anyio":
        # As in loops that cannot watch sockets.
        monkeypatch.setattr(socket_stream, "new_waiter", lambda connected, _: AnyioWaiter(connected))
    seen = []
    connections = []

    async def handle(connection: AcceptedConnection) -> None:
        connections.append(connection)
        try:
            while True:
                try:
                    seen.append(await connection.receive())
                except InterruptedWaitError:
                    seen.append(b"interrupted")
        except EOFError:
            return

    listener = await open_listener("one", "127.0.0.1", 0)
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        async with await anyio.connect_tcp("127.0.0.1", listener.port) as stream:
            await anyio.sleep(1)
            connections[0].interrupt()
            await anyio.sleep(1)
            await stream.send(b"x")
            await anyio.sleep(1)
        listener.close()
    assert seen == [b"interrupted", b"x"]
    # Nobody waits any more.
    connections[0].interrupt()


async def test_an_interruption_that_comes_before_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = await open_listener("one", "127.0.0.1", 0)
    interrupted = anyio.Event()

    async def handle(connection: AcceptedConnection) -> None:
        async def interrupt_at_the_checkpoint() -> None:
            connection.interrupt()

        monkeypatch.setattr(connection, "_yield_to_loop", interrupt_at_the_checkpoint)
        with pytest.raises(InterruptedWaitError):
            await connection.receive()
        interrupted.set()

    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        async with await anyio.connect_tcp("127.0.0.1", listener.port):
            await interrupted.wait()
        listener.close()


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8::7", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_plain_addresses(address: str, plain: str) -> None:
    assert plain_address(address) == plain
