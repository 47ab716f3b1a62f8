"""A channel: sending and receiving, deadlines, end of stream, and acknowledged octets."""

from __future__ import annotations

import socket
import struct
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

from mailslot import Endpoint, Security
from mailslot.net.channel import RECEIVE_SIZE, Channel
from mailslot.wire.protocol_error import RemoteProtocolError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.virtual_time

ENDPOINT = Endpoint("localhost", 25, Security.NONE)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Channel, socket.socket]]:
    """A channel, and the other end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connected = socket.create_connection(server.getsockname())
        connected.setblocking(False)
        other, _ = server.accept()
        channel = Channel(connected, ENDPOINT)
        with other:
            yield channel, other
            channel.close()


def soon(seconds: float = 0.05) -> float:
    return anyio.current_time() + seconds


async def test_octets(pair: tuple[Channel, socket.socket]) -> None:
    channel, other = pair
    await channel.send(b"EHLO\r\n", 0.05)
    assert other.recv(99) == b"EHLO\r\n"
    other.send(b"250 ok\r\n")
    assert bytes(await channel.receive(soon())) == b"250 ok\r\n"
    assert channel.local_host == channel.remote_host == "127.0.0.1"
    assert channel.peer_certificate is None


async def test_deadlines(pair: tuple[Channel, socket.socket]) -> None:
    channel, _ = pair
    began = anyio.current_time()
    with pytest.raises(TimeoutError):
        await channel.receive(soon())
    with pytest.raises(TimeoutError):
        await channel.send(b"x" * 50_000_000, 0.05)
    assert anyio.current_time() - began == pytest.approx(0.1, abs=0.03)


async def test_end_of_stream(pair: tuple[Channel, socket.socket]) -> None:
    channel, other = pair
    other.send(b"221 bye\r\n")
    other.shutdown(socket.SHUT_WR)
    assert bytes(await channel.receive(soon())) == b"221 bye\r\n"
    with pytest.raises(EOFError):
        await channel.receive(soon())


async def test_a_reset(pair: tuple[Channel, socket.socket]) -> None:
    channel, other = pair
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    other.close()
    with pytest.raises(OSError):
        await channel.receive(soon(1))
    with pytest.raises(OSError):
        await channel.send(b"x", 0.05)
    assert channel.remote_host is None


@pytest.mark.parametrize("twice", [False, True])
async def test_closed(pair: tuple[Channel, socket.socket], twice: bool) -> None:
    channel, other = pair
    channel.close()
    if twice:
        channel.close()
    with pytest.raises(OSError):
        await channel.send(b"x", 0.05)
    with pytest.raises((OSError, EOFError)):
        await channel.receive(soon())
    assert other.recv(9) == b""


async def test_closed_while_another_task_waits(pair: tuple[Channel, socket.socket]) -> None:
    channel, _ = pair
    raised: list[BaseException] = []

    async def wait() -> None:
        try:
            await channel.receive(soon(2))
        except (OSError, EOFError) as error:
            raised.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(0.02)
        channel.close()
    assert raised


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the system does not tell")
async def test_progress_counts_acknowledged_octets(pair: tuple[Channel, socket.socket]) -> None:
    channel, other = pair
    channel.made_progress()
    assert not channel.made_progress()
    await channel.send(b"x", 0.05)
    await anyio.sleep(0.1)
    assert channel.made_progress()
    assert not channel.made_progress()
    assert other.recv(9) == b"x"


async def test_a_busy_connection_yields_to_other_tasks(pair: tuple[Channel, socket.socket]) -> None:
    channel, other = pair
    other.setblocking(False)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        for _ in range(2_000):
            await channel.send(b"x", 0.05)
            other.recv(99)
        group.cancel_scope.cancel()
    assert turns > 3


async def test_octets_that_wait_before_our_client_hello(
    pair: tuple[Channel, socket.socket], client_context: ssl.SSLContext
) -> None:
    """Somebody has inserted them, since in TLS the client speaks first."""
    channel, other = pair
    other.send(b"250 AUTH PLAIN\r\n")
    await anyio.wait_readable(channel._socket)
    with pytest.raises(RemoteProtocolError) as caught:
        await channel.start_tls(client_context, 60, after_starttls=True)
    assert caught.value.cause == "tls_injection"
    other.setblocking(False)
    with pytest.raises(BlockingIOError):
        other.recv(1)


async def test_what_tls_has_read_is_not_waited_for(
    pair: tuple[Channel, socket.socket], client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    channel, other = pair
    # The last record goes over the end of the buffer, and then it is the turn of other tasks.
    sizes = [10_000] * (RECEIVE_SIZE // 10_000 + 1)

    def serve() -> ssl.SSLSocket:
        encrypted = server_context.wrap_socket(other, server_side=True)
        for size in sizes:
            encrypted.sendall(b"x" * size)
        return encrypted

    async with anyio.create_task_group() as group:
        group.start_soon(partial(channel.start_tls, client_context, 60, after_starttls=False))
        encrypted = await to_thread.run_sync(serve)
    with encrypted:
        received = 0
        while received < sum(sizes):
            received += len(await channel.receive(soon(60)))
