"""Tasks take turns on a connection, in their order, and a cancelled one leaves the turns of the others alone."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from anyio.lowlevel import checkpoint

from mailslot.net.turn_lock import TurnLock

pytestmark = pytest.mark.anyio


async def test_tasks_get_it_in_their_order() -> None:
    lock, order = TurnLock(), list[int]()

    async def use(number: int) -> None:
        if not lock.acquire_nowait():
            await lock.acquire()
        order.append(number)
        await checkpoint()
        assert order[-1] == number, "another task had it at the same time"
        lock.release()

    async with anyio.create_task_group() as group:
        assert lock.acquire_nowait()
        for number in range(5):
            group.start_soon(use, number)
            await anyio.wait_all_tasks_blocked()
        assert order == []
        lock.release()
        assert not lock.acquire_nowait(), "it belongs to the first that waits"
    assert order == [0, 1, 2, 3, 4]
    assert lock.acquire_nowait()


async def test_a_task_that_has_it_does_not_wait_for_itself() -> None:
    lock = TurnLock()
    assert lock.acquire_nowait()
    with pytest.raises(RuntimeError, match="by this task"):
        await lock.acquire()
    lock.release()
    assert lock.acquire_nowait()


async def test_one_that_is_cancelled_loses_its_turn() -> None:
    lock, order = TurnLock(), list[str]()

    async def use(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            await lock.acquire()
            order.append(name)
            lock.release()

    first, second, third = anyio.CancelScope(), anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        assert lock.acquire_nowait()
        for name, scope in {"first": first, "second": second, "third": third}.items():
            group.start_soon(use, name, scope)
            await anyio.wait_all_tasks_blocked()
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        # The second is cancelled when it has its turn already, and has not gone on yet.
        lock.release()
        second.cancel()
    assert order in (["third"], ["second", "third"])
    assert second.cancelled_caught == (order == ["third"])
    assert lock.acquire_nowait()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_one_that_asyncio_cancels_at_its_turn_passes_it_on() -> None:
    lock, order = TurnLock(), list[int]()

    async def use(number: int) -> None:
        await lock.acquire()
        order.append(number)
        lock.release()

    assert lock.acquire_nowait()
    tasks = [asyncio.ensure_future(use(number)) for number in range(2)]
    await checkpoint()
    lock.release()
    tasks[0].cancel()
    await asyncio.wait(tasks, timeout=60)
    assert tasks[0].cancelled()
    assert order == [1]
    assert lock.acquire_nowait()
