"""Waiting for octets: what is kept between two waits, and how a wait ends."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from mailslot import Endpoint, Security
from mailslot.net.channel import Channel
from mailslot.net.event_loop import current_clock
from mailslot.net.waiter import AnyioWaiter, AsyncioWaiter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.virtual_time


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Channel, socket.socket]]:
    """A channel, and the other end of its connection."""
    connected, other = socket.socketpair()
    connected.setblocking(False)
    channel = Channel(connected, Endpoint("localhost", 25, Security.NONE))
    with other:
        yield channel, other
        channel.close()


def soon(seconds: float = 0.05) -> float:
    return anyio.current_time() + seconds


async def wait_and_send(channel: Channel, other: socket.socket, octets: bytes) -> bytes:
    """Receive octets that are sent once the channel waits for them."""
    received = b""

    async def receive() -> None:
        nonlocal received
        received = await channel.receive(soon(1))

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        other.send(octets)
    return received


@pytest.fixture
def kind(anyio_backend: tuple[str, Any]) -> str:
    return {"asyncio": "AsyncioWaiter", "trio": "TrioWaiter"}[anyio_backend[0]]


async def test_each_event_loop_has_its_waiter(pair: tuple[Channel, socket.socket], kind: str) -> None:
    assert await wait_and_send(*pair, b"one") == b"one"
    assert type(pair[0]._waiter).__name__ == kind
    assert current_clock()() == anyio.current_time()


async def test_octets_of_a_cancelled_wait_are_kept(pair: tuple[Channel, socket.socket]) -> None:
    channel, other = pair

    async def receive() -> None:
        await channel.receive(soon(1))

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        other.send(b"first")
        group.cancel_scope.cancel()
    other.send(b"second")
    received = b""
    while len(received) < len(b"firstsecond"):
        received += await channel.receive(soon())
    assert received == b"firstsecond"


async def test_octets_that_nobody_waits_for_are_left_to_the_system(pair: tuple[Channel, socket.socket]) -> None:
    channel, other = pair
    assert await wait_and_send(channel, other, b"one") == b"one"
    other.send(b"two")
    await anyio.sleep(0.1)
    assert channel._arrived is None
    if isinstance(channel._waiter, AsyncioWaiter):
        assert not channel._waiter._watching
    assert await channel.receive(soon()) == b"two"
    assert await wait_and_send(channel, other, b"three") == b"three"


async def test_a_later_deadline_holds(pair: tuple[Channel, socket.socket]) -> None:
    channel, other = pair
    began = anyio.current_time()
    with pytest.raises(TimeoutError):
        await channel.receive(soon(0.5))
    assert await wait_and_send(channel, other, b"one") == b"one"
    with pytest.raises(TimeoutError):
        await channel.receive(soon(3))
    with pytest.raises(TimeoutError):
        await channel.receive(soon(0.5))
    assert anyio.current_time() - began == pytest.approx(4, abs=0.2)


async def test_an_earlier_deadline_holds(pair: tuple[Channel, socket.socket]) -> None:
    channel, other = pair
    began = anyio.current_time()

    async def receive() -> None:
        assert await channel.receive(soon(600)) == b"one"

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        other.send(b"one")
    with pytest.raises(TimeoutError):
        await channel.receive(soon(0.5))
    assert anyio.current_time() - began == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("closed", ["by us", "by the other side"])
async def test_the_end_of_a_wait(pair: tuple[Channel, socket.socket], closed: str) -> None:
    channel, other = pair
    raised: list[BaseException] = []

    async def receive() -> None:
        try:
            await channel.receive()
        except (OSError, EOFError) as error:
            raised.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        channel.close() if closed == "by us" else other.close()
    assert [type(error) for error in raised] == [ConnectionAbortedError if closed == "by us" else EOFError]


async def test_a_reset_ends_a_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connected = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    connected.setblocking(False)
    channel = Channel(connected, Endpoint("localhost", 25, Security.NONE))
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    raised: list[BaseException] = []

    async def receive() -> None:
        try:
            await channel.receive()
        except OSError as error:
            raised.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        other.close()
    channel.close()
    assert isinstance(raised[0], ConnectionResetError)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_loop_that_cannot_watch_sockets(
    pair: tuple[Channel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, other = pair
    watched = asyncio.get_running_loop().add_reader

    def refuse(file: Any, callback: Any) -> None:
        if getattr(callback, "__self__", None).__class__ is AsyncioWaiter:
            raise NotImplementedError
        watched(file, callback)

    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
    assert await wait_and_send(channel, other, b"one") == b"one"
    assert isinstance(channel._waiter, AnyioWaiter)
    with pytest.raises(TimeoutError):
        await channel.receive(soon())
    raised: list[BaseException] = []

    async def receive() -> None:
        try:
            await channel.receive()
        except OSError as error:
            raised.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        channel.close()
    assert isinstance(raised[0], ConnectionAbortedError)


async def test_the_deadline_of_the_reader_leaves_the_writer_alone(pair: tuple[Channel, socket.socket]) -> None:
    channel, other = pair
    other.setblocking(False)
    message = b"x" * 5_000_000
    sent = anyio.Event()

    async def send() -> None:
        await channel.send(message)
        sent.set()

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(TimeoutError):
            await channel.receive(soon())
        assert not sent.is_set()
        received = 0
        while received < len(message):
            try:
                received += len(other.recv(1_000_000))
            except BlockingIOError:
                await anyio.sleep(0.01)
    assert sent.is_set()


async def test_a_waiting_writer_ends_with_the_channel(pair: tuple[Channel, socket.socket]) -> None:
    channel, _ = pair
    raised: list[BaseException] = []

    async def send() -> None:
        try:
            await channel.send(b"x" * 5_000_000)
        except OSError as error:
            raised.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        channel.close()
    assert isinstance(raised[0], ConnectionAbortedError)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_octets_after_an_abandoned_wait(pair: tuple[Channel, socket.socket]) -> None:
    channel, other = pair
    receiving = channel.receive()
    receiving.send(None)
    receiving.close()
    other.send(b"one")
    await anyio.sleep(0.1)
    assert channel._arrived is None
    assert await channel.receive(soon()) == b"one"
