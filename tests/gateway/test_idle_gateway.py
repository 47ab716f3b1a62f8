"""A gateway without listeners costs nothing, and ends with the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.to_thread import run_sync

from mailslot.service.device import open_device
from mailslot.slots.gateway.entries import add_listener
from mailslot.slots.records import Records
from mailslot_plugins.gateway import listeners
from mailslot_plugins.gateway.pipeline import pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.service.device import Device

pytestmark = pytest.mark.anyio


async def test_it_ends_when_the_service_stops(tmp_path: Path) -> None:
    async with open_device(Records(tmp_path)) as device:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(pipeline.run, device)
                await anyio.wait_all_tasks_blocked()
                device.stop()


async def test_the_first_listener_wakes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Device] = []

    async def serve_listeners(device: Device) -> None:
        served.append(device)

    monkeypatch.setattr(listeners, "serve_listeners", serve_listeners)
    async with open_device(Records(tmp_path)) as device:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(pipeline.run, device)
                await anyio.wait_all_tasks_blocked()
                assert served == []
                await run_sync(add_listener, device.records, "scan", {"listen": "127.0.0.1:0"})
                await device.refresh()
        assert served == [device]
