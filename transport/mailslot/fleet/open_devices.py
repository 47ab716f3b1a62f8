"""The devices that a worker keeps open, with their settings, keys and tokens in memory for the next task."""

from __future__ import annotations

import random
from collections import OrderedDict
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.service.device import open_device
from mailslot.slots.records import Records

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.net.server_gate import ServerGate
    from mailslot.oauth.timing import Clocks
    from mailslot.service.device import Device

MOST: Final = 2_000
"""The number of idle devices that stay open; each takes about 50 kB."""

_NEW_ONES_STAY: Final = 0.1
"""The probability that a used device replaces the least recently used one when the cache is full. All devices have a
turn within an interval: if each of them replaced another, none would ever be found open."""


class OpenDevice:
    """A device with an open home; the device itself is opened when a task needs it.

    Args:
        home: its home.

    Attributes:
        users: the number of tasks that use it.
        is_gone: whether it may have been removed from the fleet, so that it must be looked up again.
    """

    def __init__(self, home: PostgresHome) -> None:
        self.home: Final = home
        self.users = 0
        self.is_gone = False
        self._device: Device | None = None
        self._stack = AsyncExitStack()
        self._opening = anyio.Lock()

    async def device(self, clocks: Clocks, gate: ServerGate) -> Device:
        """Return the device, with its current settings.

        Args:
            clocks: its clocks.
            gate: decides whether a server may be contacted now.

        Raises:
            InputError: the settings cannot be used.
            MailError: the spool cannot be opened.
        """
        async with self._opening:
            if self._device is None:
                opened = open_device(Records(self.home), clocks=clocks, gate=gate)
                self._device = await self._stack.enter_async_context(opened)
            else:
                await self._device.refresh()
            return self._device

    @property
    def must_stay(self) -> bool:
        """Whether a task uses it, or a new token is only in memory because it could not be written."""
        return self.users > 0 or (self._device is not None and self._device.connector.token_sources.has_unsaved)

    async def close(self) -> None:
        """Close it."""
        await self._stack.aclose()


class OpenDevices:
    """The devices of a process, in one event loop.

    Args:
        open_home: returns the home of a device by the names of its tenant and itself, None if there is none; it blocks.
        most: the maximum number of idle devices that stay open.
        random: returns a number from 0 to 1.
    """

    def __init__(
        self,
        open_home: Callable[[str, str], PostgresHome | None],
        most: int = MOST,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._open_home = open_home
        self._most = most
        self._random = random
        self._devices: OrderedDict[tuple[str, str], OpenDevice] = OrderedDict()

    @asynccontextmanager
    async def lend(self, tenant: str, name: str) -> AsyncGenerator[OpenDevice | None]:
        """Yield a device; None if the fleet has none of this name.

        Raises:
            InputError: the database cannot be used.
        """
        key = tenant, name
        if key not in self._devices:
            home = await run_sync(self._open_home, tenant, name)
            if home is None:
                yield None
                return
            # Another task may have opened it meanwhile.
            self._devices.setdefault(key, OpenDevice(home))
        found = self._devices[key]
        self._devices.move_to_end(key)
        found.users += 1
        try:
            yield found
        finally:
            found.users -= 1
            with anyio.CancelScope(shield=True):
                await self._close(self._superfluous(key))

    async def aclose(self) -> None:
        """Close all devices."""
        with anyio.CancelScope(shield=True):
            await self._close([*self._devices])

    def _superfluous(self, last: tuple[str, str]) -> list[tuple[str, str]]:
        """Return the devices to close, after a task has used one."""
        found = {last} if self._devices[last].is_gone else set[tuple[str, str]]()
        if len(self._devices) > self._most:
            found.add(last if self._random() >= _NEW_ONES_STAY else next(iter(self._devices)))
        return [key for key in found if not self._devices[key].must_stay]

    async def _close(self, keys: Iterable[tuple[str, str]]) -> None:
        # Removed first, so that no task finds a device that is being closed.
        devices = [self._devices.pop(key) for key in keys]
        for device in devices:
            await device.close()
