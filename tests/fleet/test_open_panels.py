"""Which panels of a fleet's panel are open, and for how long."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from mailslot.fleet.homes import FleetHomes
from mailslot.fleet.opening import FleetPlaces
from mailslot_plugins.panel.fleet import open_panels
from mailslot_plugins.panel.fleet.open_panels import CLOSE_AFTER, OpenPanels

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import pytest

    from lab.postgres import Fleet
    from mailslot_plugins.panel.fleet.open_panels import OpenPanel


@asynccontextmanager
async def running(fleet: Fleet, clock: list[float]) -> AsyncGenerator[OpenPanels]:
    places = FleetPlaces(fleet.folder, fleet.folder / "master.key")
    panels = OpenPanels(FleetHomes(fleet.url, fleet.database, fleet.master, places), lambda: clock[0])
    async with anyio.create_task_group() as group:
        group.start_soon(panels.run)
        await anyio.lowlevel.checkpoint()
        yield panels
        group.cancel_scope.cancel()


async def test_requests_at_the_same_time_open_it_once(fleet: Fleet) -> None:
    home = await run_sync(fleet.add_device)
    found: list[OpenPanel | None] = []

    async def use(panels: OpenPanels) -> None:
        async with panels.lend("acme", home.device.name) as opened:
            found.append(opened)

    async with running(fleet, [0.0]) as panels:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(use, panels)
        assert found == [panels.all()[0]] * 5
        assert found[0] is not None
        assert found[0].users == 0


async def test_what_is_unused_is_closed(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_panels, "MAX_OPEN", 2)
    names = [(await run_sync(fleet.add_device)).device.name for _ in range(4)]
    clock = [0.0]

    def opened(panels: OpenPanels) -> list[str]:
        return [each.id.name for each in panels.all()]

    async with running(fleet, clock) as panels:
        async with panels.lend("acme", names[0]) as used:
            assert used is not None
            for name in names[1:]:
                clock[0] += 1
                async with panels.lend("acme", name):
                    pass
            # The limit closes those that nobody uses, and none that a request uses.
            assert opened(panels) == [names[0], names[3]]
            clock[0] += CLOSE_AFTER + 1
            panels.close_idle()
            assert opened(panels) == [names[0]]

        async def sign_in(ending: anyio.Event) -> None:
            await ending.wait()

        ending = anyio.Event()
        task = used.tasks.start(("sign-in",), ending, sign_in)
        clock[0] += CLOSE_AFTER + 1
        panels.close_idle()
        assert opened(panels) == [names[0]]
        ending.set()
        await task.ended.wait()
        panels.close_idle()
        assert opened(panels) == []
        async with panels.lend("acme", names[0]) as again:
            assert again is not None
            assert again is not used


async def test_one_that_cannot_be_opened_is_tried_again(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    home = await run_sync(fleet.add_device)
    failures = [RuntimeError("once")]
    make = open_panels.device_application

    def fail(*arguments: object) -> object:
        if failures:
            raise failures.pop()
        return make(*arguments)  # type: ignore[arg-type] - as they came

    monkeypatch.setattr(open_panels, "device_application", fail)
    async with running(fleet, [0.0]) as panels:
        try:
            async with panels.lend("acme", home.device.name):
                pass
        except* RuntimeError:
            pass
        assert panels.all() == []
        async with panels.lend("acme", home.device.name) as opened:
            assert opened is not None
