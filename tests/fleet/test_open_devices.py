"""Which devices of a fleet's panel are open, and for how long."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from mailslot.fleet.homes import FleetHomes
from mailslot.fleet.opening import FleetPlaces
from mailslot_plugins.panel.fleet import open_devices
from mailslot_plugins.panel.fleet.open_devices import CLOSE_AFTER, OpenDevices

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import pytest

    from lab.postgres import Fleet
    from mailslot_plugins.panel.fleet.open_devices import OpenDevice


@asynccontextmanager
async def running(fleet: Fleet, clock: list[float]) -> AsyncGenerator[OpenDevices]:
    places = FleetPlaces(fleet.folder, fleet.folder / "master.key")
    devices = OpenDevices(FleetHomes(fleet.url, fleet.database, fleet.master, places), lambda: clock[0])
    async with anyio.create_task_group() as group:
        group.start_soon(devices.run)
        await anyio.lowlevel.checkpoint()
        yield devices
        group.cancel_scope.cancel()


async def test_requests_at_the_same_time_open_it_once(fleet: Fleet) -> None:
    home = await run_sync(fleet.add_device)
    found: list[OpenDevice | None] = []

    async def use(devices: OpenDevices) -> None:
        async with devices.lend("acme", home.device.name) as opened:
            found.append(opened)

    async with running(fleet, [0.0]) as devices:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(use, devices)
        assert found == [devices.all()[0]] * 5
        assert found[0] is not None
        assert found[0].users == 0


async def test_what_is_unused_is_closed(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_devices, "MAX_OPEN", 2)
    names = [(await run_sync(fleet.add_device)).device.name for _ in range(4)]
    clock = [0.0]

    def opened(devices: OpenDevices) -> list[str]:
        return [each.id.name for each in devices.all()]

    async with running(fleet, clock) as devices:
        async with devices.lend("acme", names[0]) as used:
            assert used is not None
            for name in names[1:]:
                clock[0] += 1
                async with devices.lend("acme", name):
                    pass
            # The limit closes those that nobody uses, and none that a request uses.
            assert opened(devices) == [names[0], names[3]]
            clock[0] += CLOSE_AFTER + 1
            devices.close_idle()
            assert opened(devices) == [names[0]]

        async def sign_in(ending: anyio.Event) -> None:
            await ending.wait()

        ending = anyio.Event()
        task = used.tasks.start(("sign-in",), ending, sign_in)
        clock[0] += CLOSE_AFTER + 1
        devices.close_idle()
        assert opened(devices) == [names[0]]
        ending.set()
        await task.ended.wait()
        devices.close_idle()
        assert opened(devices) == []
        async with devices.lend("acme", names[0]) as again:
            assert again is not None
            assert again is not used


async def test_one_that_cannot_be_opened_is_tried_again(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    home = await run_sync(fleet.add_device)
    failures = [RuntimeError("once")]
    make = open_devices.device_application

    def fail(*arguments: object) -> object:
        if failures:
            raise failures.pop()
        return make(*arguments)  # type: ignore[arg-type] - as they came

    monkeypatch.setattr(open_devices, "device_application", fail)
    async with running(fleet, [0.0]) as devices:
        try:
            async with devices.lend("acme", home.device.name):
                pass
        except* RuntimeError:
            pass
        assert devices.all() == []
        async with devices.lend("acme", home.device.name) as opened:
            assert opened is not None
