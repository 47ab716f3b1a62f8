"""A refresh cancelled at any await: what the provider issued is saved."""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from mailslot.oauth.shielding import shielded
from refresh import device as devices
from refresh.device import running
from refresh.service import ScriptedResponse, fingerprint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator
    from pathlib import Path

    from refresh.device import Device
    from refresh.service import Service

LIMIT = 200


class AwaitCounter:
    """Runs a coroutine, and does something the moment it waits for the n-th time."""

    def __init__(self, number: int, then: Callable[[], object]) -> None:
        self.waited = 0
        self._number = number
        self._then = then

    @types.coroutine
    def run(self, coroutine: Coroutine[object, object, object]) -> Generator[object, object, object]:
        step, value = coroutine.send, None
        while True:
            try:
                wanted = step(value)
            except StopIteration as end:
                return end.value
            self.waited += 1
            if self.waited == self._number:
                self._then()
            try:
                step, value = coroutine.send, (yield wanted)
            except BaseException as error:  # noqa: BLE001 - handed on to whom it was meant for
                step, value = coroutine.throw, error


async def by_scope(work: Callable[[], Coroutine[object, object, object]], number: int) -> bool:
    """Run something, cancelled by a scope at its n-th await; whether it waited that often."""
    with anyio.CancelScope() as scope:
        awaits = AwaitCounter(number, scope.cancel)
        await awaits.run(work())
    return awaits.waited >= number


async def by_task(work: Callable[[], Coroutine[object, object, object]], number: int) -> bool:
    """The same by asyncio's own means, over and over, as an impatient caller would."""

    async def cancelled() -> None:
        await awaits.run(work())

    def cancel() -> None:
        nonlocal task
        task.cancel()
        for delay in (0.001, 0.003, 0.006):
            loop.call_later(delay, task.cancel)

    loop = asyncio.get_running_loop()
    awaits = AwaitCounter(number, cancel)
    task = loop.create_task(cancelled())
    await asyncio.wait([task])
    assert task.cancelled() or task.exception() is None
    return awaits.waited >= number


async def by_timeout(work: Callable[[], Coroutine[object, object, object]], number: int) -> bool:
    """The same by `asyncio.timeout`, after some time."""
    seconds = 0.0004 * (1.08**number - 1.08)
    try:
        async with asyncio.timeout(seconds):
            await work()
    except TimeoutError:
        return True
    return False


WAYS = [by_scope, by_task, by_timeout]


def skip_elsewhere(way: object, backend: str) -> None:
    if way is not by_scope and backend != "asyncio":
        pytest.skip("is asyncio's own")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("force", [False, True])
async def test_a_refresh_cancelled_at_every_await(
    home: Path, service: Service, anyio_backend: str, way: Callable[..., Awaitable[bool]], force: bool
) -> None:
    """A strict provider ends the grant if any refresh token is lost, or used twice."""
    skip_elsewhere(way, anyio_backend)
    async with running(home, service) as device:
        service.slow = 0.002
        seen = {"before": 0, "after": 0}
        for number in range(1, LIMIT):
            old = await device.sign_in(age=0 if force else 7200)
            device.restart()
            reached = await way(lambda: device.source.token(force=force), number)
            await _is_unharmed(device)
            seen["after" if service.state.refreshes else "before"] += 1
            if device.refreshes:
                assert await device.token() != old
                assert device.asked == 1
            new = await device.token(force=force)
            assert new != old
            assert (device.asked, device.refreshes, service.state.reused) == (1, 1, 0)
            if not reached:
                break
        assert not reached, "it never ended by itself"
        assert seen["before"]
        assert seen["after"]


async def _is_unharmed(device: Device) -> None:
    """The disk holds the provider's newest refresh token, and nobody holds the lock."""
    kept = await device.grant()
    assert device.service.state.newest == fingerprint(kept.refresh_token.reveal())
    with anyio.fail_after(120):
        async with device.store.lock():
            pass


@pytest.mark.parametrize("way", WAYS)
async def test_waiting_for_another_refresh_is_cancelled_at_once(
    home: Path, service: Service, anyio_backend: str, way: Callable[..., Awaitable[bool]]
) -> None:
    skip_elsewhere(way, anyio_backend)
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        async with devices.store(home).lock():
            for number in (3, 5, 10):
                with anyio.fail_after(120):
                    await way(device.another().token, number)
        assert device.asked == 0
        await device.token()


async def test_waiting_for_a_retry_is_cancelled(home: Path, service: Service) -> None:
    """A lost answer is not waited for beyond the request that nobody may cancel."""
    async with running(home, service) as device:
        service.policy, service.lose = "lax", 1
        await device.sign_in(age=7200)
        await cancelled_while_it_waits(device)
        assert device.asked == 1
        await device.token()


async def test_waiting_to_confirm_a_refusal_is_cancelled(home: Path, service: Service) -> None:
    """The next request, in any process, confirms the refusal, and not earlier."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [ScriptedResponse(400, {"error": "invalid_grant"})]
        await cancelled_while_it_waits(device)
        kept = (await device.grant()).failure
        assert kept is not None
        assert kept.unconfirmed
        device.clocks.pass_by(2)
        await device.token()
        assert (device.asked, device.clocks.slept) == (2, [3.0])
        assert (await device.grant()).failure is None


async def cancelled_while_it_waits(device: Device) -> None:
    """Ask for a token, and be cancelled once that waits to ask the provider again."""
    waiting, clocks = anyio.Event(), device.clocks

    async def wait(_: float) -> None:
        waiting.set()
        await anyio.sleep_forever()

    device.clocks.sleep = wait
    device.restart()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(device.token)
        with anyio.fail_after(60):
            await waiting.wait()
        tasks.cancel_scope.cancel()
    del clocks.sleep
    device.restart()


@pytest.mark.parametrize("way", WAYS)
async def test_obtaining_cancelled_at_every_await(
    home: Path, service: Service, anyio_backend: str, way: Callable[..., Awaitable[bool]]
) -> None:
    """Once the flow has given a grant, it is kept."""
    skip_elsewhere(way, anyio_backend)
    async with running(home, service) as device:
        for number in range(1, LIMIT):
            await device.sign_in(age=7200)
            device.flow.grant = await device.grant()
            await device.store.delete()
            reached = await way(lambda: device.source.obtain(None), number)
            assert (await device.grant()).access_token == device.flow.grant.access_token
            if not reached:
                break
        assert number > 1


@pytest.mark.parametrize("way", WAYS)
async def test_deleting_cancelled_at_every_await(
    home: Path, service: Service, anyio_backend: str, way: Callable[..., Awaitable[bool]]
) -> None:
    """Once it has begun, it is done here; before, nothing has happened."""
    skip_elsewhere(way, anyio_backend)
    async with running(home, service) as device:
        service.slow = 0.002
        kept = 0
        for number in range(1, LIMIT):
            await device.sign_in()
            reached = await way(device.source.delete, number)
            if await device.store.load() is not None:
                kept += 1
                assert not service.state.revoked
            if not reached:
                break
        assert await device.store.load() is None
        assert kept < number - 1, "a late cancellation was never tried"


async def test_shielded_work_returns_and_raises() -> None:
    async def work() -> int:
        await anyio.lowlevel.checkpoint()
        return 1

    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise KeyError(1)

    assert await shielded(work) == 1
    with pytest.raises(KeyError):
        await shielded(fail)


async def test_shielded_work_ends_before_its_caller() -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        await anyio.sleep(0.05)
        ended = True

    with anyio.move_on_after(0.01) as scope:
        await shielded(work)
        assert ended
        await anyio.lowlevel.checkpoint()
    assert ended
    assert scope.cancelled_caught

    ended = False
    with anyio.CancelScope() as scope:
        scope.cancel()
        await shielded(work)
    assert ended
