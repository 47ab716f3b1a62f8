"""Time that passes only while nothing happens."""

from __future__ import annotations

import socket
import threading
import time

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

import virtual_time

pytestmark = pytest.mark.virtual_time


async def test_a_day_passes_immediately() -> None:
    began = anyio.current_time()
    await anyio.sleep(80_000)
    assert anyio.current_time() - began == pytest.approx(80_000)
    with pytest.raises(TimeoutError), anyio.fail_after(600):
        await anyio.sleep_forever()
    assert anyio.current_time() - began == pytest.approx(80_600)


async def test_timers_fire_in_order() -> None:
    woken: list[int] = []

    async def sleeper(seconds: int) -> None:
        await anyio.sleep(seconds)
        woken.append(seconds)

    async with anyio.create_task_group() as group:
        for seconds in (30, 10, 20):
            group.start_soon(sleeper, seconds)
    assert woken == [10, 20, 30]


async def test_computation_takes_no_time() -> None:
    began = anyio.current_time()
    with anyio.fail_after(0.001):
        for _ in range(1000):
            await anyio.lowlevel.checkpoint()
        time.sleep(0.1)  # noqa: ASYNC251 - it stands for what a slow machine takes long for
        await anyio.lowlevel.checkpoint()
    assert anyio.current_time() == began


@pytest.mark.parametrize("name", ["localhost", "mail.invalid"])
async def test_threads_take_no_time(name: str) -> None:
    began = anyio.current_time()
    with anyio.fail_after(0.001):
        await anyio.to_thread.run_sync(time.sleep, 0.2)
        try:
            await anyio.getaddrinfo(name, 25)
        except OSError:
            assert name == "mail.invalid"
    assert anyio.current_time() == began


async def test_socket_transfers_take_no_time() -> None:
    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            async for octets in stream:
                await stream.send(octets)

    began = anyio.current_time()
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, echo)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            with anyio.fail_after(0.001):
                for number in range(200):
                    await stream.send(b"%d" % number)
                    assert await stream.receive() == b"%d" % number
        group.cancel_scope.cancel()
    assert anyio.current_time() == began


async def test_it_stands_still_for_what_comes_from_outside() -> None:
    began = anyio.current_time()
    receiver, sender = socket.socketpair()
    # No thread of the loop's, so the loop cannot know of it.
    outside = threading.Timer(0.2, sender.send, [b"x"])
    with receiver, sender:
        receiver.setblocking(False)
        outside.start()
        with anyio.fail_after(1), virtual_time.standing_still():
            await anyio.wait_readable(receiver)
        outside.join()
    assert anyio.current_time() == began
    await anyio.sleep(1)
    assert anyio.current_time() == pytest.approx(began + 1)
