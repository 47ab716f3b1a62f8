"""The polling of accounts, which may be added and removed while the service runs."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from mailslot.service.poll_loop import PollLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from mailslot.service.device import Device
    from mailslot.service.pipeline import Pipeline

    Supervise = Callable[[str, Callable[[], Awaitable[None]]], Coroutine[Any, Any, None]]


class AccountPolling:
    """Polls every account that fetches mail.

    Args:
        device: the device.
        pipeline: handles the mail of all accounts.
        supervise: runs a task under a name, and restarts it if it fails.
    """

    def __init__(self, device: Device, pipeline: Pipeline, supervise: Supervise) -> None:
        self._device = device
        self._pipeline = pipeline
        self._supervise = supervise

    async def run(self) -> None:
        """Poll until cancelled; the polling of an account ends when it is removed."""
        polled: dict[str, anyio.CancelScope] = {}
        async with anyio.create_task_group() as group:
            while True:
                wanted = {record for record, protocol in self._device.slots.accounts.items() if protocol == "POP"}
                for record in polled.keys() - wanted:
                    polled.pop(record).cancel()
                for record in sorted(wanted - polled.keys()):
                    polled[record] = scope = anyio.CancelScope()
                    group.start_soon(self._poll, record, scope)
                await self._device.pause(math.inf)

    async def _poll(self, record: str, scope: anyio.CancelScope) -> None:
        loop = PollLoop(self._device, record, self._pipeline)
        with scope:
            async with anyio.create_task_group() as group:
                group.start_soon(partial(self._supervise, f"polling {record}", loop.run))
                group.start_soon(partial(self._supervise, f"watching {record}", loop.watch))
