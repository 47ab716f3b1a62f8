"""The open panels of devices: each is opened for its first request, and closed when it was unused for a while.

The devices that a worker keeps open are in `mailslot.fleet.open_devices`.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.service.device import open_device
from mailslot.service.log import describe_error
from mailslot.slots.records import Records
from mailslot_plugins.panel.application import device_application
from mailslot_plugins.panel.background import BackgroundTasks
from mailslot_plugins.panel.pipelines import pipelines
from mailslot_plugins.panel.section import PANEL

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from anyio.abc import TaskGroup, TaskStatus
    from starlette.applications import Starlette

    from mailslot.fleet.homes import FleetHomes
    from mailslot.fleet.postgres.database import DeviceId
    from mailslot.service.device import Device

MAX_OPEN: Final = 100
"""Panels that are open at the same time; beyond this, unused ones are closed."""

CLOSE_AFTER: Final = 900.0
"""Seconds without a request after which a panel is closed; sign-ins and tests may still run on it."""

_CHECK_INTERVAL: Final = 60.0

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class OpenPanel:
    """An open device and its panel.

    Attributes:
        id: the device's id.
        device: the device.
        application: its panel.
        tasks: the panel's tasks in the background.
        root: the path below which it is served.
        users: the number of requests that use it.
        used_at: when the last request ended, in seconds of a monotonic clock.
        ending: set when it has to be closed.
    """

    id: DeviceId
    device: Device
    application: Starlette
    tasks: BackgroundTasks
    root: str
    users: int = 0
    used_at: float = 0.0
    ending: anyio.Event = field(default_factory=anyio.Event)

    @property
    def is_idle(self) -> bool:
        """Whether no request and no task uses it."""
        return self.users == 0 and not self.tasks.any_running


class OpenPanels:
    """The open panels; they stay open while `run` is running.

    Args:
        homes: the homes of the devices.
        monotonic: seconds of a monotonic clock.
    """

    def __init__(self, homes: FleetHomes, monotonic: Callable[[], float]) -> None:
        self._homes = homes
        self._monotonic = monotonic
        self._group: TaskGroup | None = None
        self._open: dict[int, OpenPanel] = {}
        self._locks: dict[int, anyio.Lock] = {}

    async def run(self) -> None:
        """Keep panels open until cancelled."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                while True:
                    await anyio.sleep(_CHECK_INTERVAL)
                    self.close_idle()
            finally:
                self._group = None

    def all(self) -> list[OpenPanel]:
        """Return the open panels."""
        return [*self._open.values()]

    @asynccontextmanager
    async def lend(self, tenant: str, device: str) -> AsyncGenerator[OpenPanel | None]:
        """Yield the panel of a device for a request; None if there is no device of this name.

        Raises:
            MailError: it cannot be opened.
        """
        id_ = await run_sync(self._homes.find, tenant, device)
        if id_ is None:
            yield None
            return
        opened = await self._opened(id_)
        # There is no await from here to the begin of the request, so the panel cannot be closed in between.
        opened.users += 1
        try:
            await opened.device.refresh()
            yield opened
        finally:
            opened.users -= 1
            opened.used_at = self._monotonic()
            if opened.device.spool.loss_error is not None:
                self._close(opened)

    async def _opened(self, id_: DeviceId) -> OpenPanel:
        async with self._locks.setdefault(id_.number, anyio.Lock()):
            opened = self._open.get(id_.number)
            if opened is None:
                if self._group is None:
                    raise RuntimeError("The panel does not run.")
                self._make_room()
                opened = self._open[id_.number] = await self._group.start(self._keep, id_)
            return opened

    async def _keep(self, id_: DeviceId, *, task_status: TaskStatus[OpenPanel]) -> None:
        started = False
        try:
            home = await run_sync(self._homes.open, id_)
            sections = [each.section for each in await run_sync(pipelines) if each.section is not None]
            async with open_device(Records(home), [PANEL, *sections]) as device, anyio.create_task_group() as group:
                tasks, root = BackgroundTasks(), f"/tenants/{id_.tenant_name}/devices/{id_.name}"
                group.start_soon(tasks.run)
                application = await run_sync(device_application, device, tasks, root, id_)
                opened = OpenPanel(id_, device, application, tasks, root, used_at=self._monotonic())
                started = True
                task_status.started(opened)
                await opened.ending.wait()
                group.cancel_scope.cancel()
        except Exception as error:
            if not started:
                raise
            logger.error("A device could not be closed properly: %s", describe_error(error))  # noqa: TRY400 - no traceback

    def close_idle(self) -> None:
        """Close the panels that were unused for `CLOSE_AFTER`."""
        now = self._monotonic()
        for opened in self.all():
            if opened.is_idle and now - opened.used_at >= CLOSE_AFTER:
                self._close(opened)

    def _make_room(self) -> None:
        idle = sorted((each for each in self.all() if each.is_idle), key=lambda each: each.used_at)
        for opened in idle[: max(0, len(self._open) - MAX_OPEN + 1)]:
            self._close(opened)

    def _close(self, opened: OpenPanel) -> None:
        if self._open.get(opened.id.number) is opened:
            del self._open[opened.id.number]
        opened.ending.set()
