"""A worker of a fleet: one of any number of processes, on any machines, that work for all its devices."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync
from psycopg import Error
from psycopg_pool import PoolTimeout

from mailslot.fleet.device_work import DeviceWork
from mailslot.fleet.engine import Engine, check_schema
from mailslot.fleet.metrics import fleet_metrics
from mailslot.fleet.postgres.clock import DatabaseClock
from mailslot.fleet.postgres.errors import as_input_error
from mailslot.fleet.postgres.schema import check_version, version_of
from mailslot.fleet.postgres.statistics import read_statistics
from mailslot.oauth.timing import Clocks
from mailslot.service.worker import GRACE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mailslot.fleet.homes import FleetHomes
    from mailslot.service.pipeline import Pipeline

_READ_CLOCK_EVERY: Final = 60.0

logger = logging.getLogger(__name__)


class FleetWorker:
    """A worker, on asyncio.

    Args:
        homes: the homes of the devices.
        pipelines: the pipelines that handle mail.
        work: the maximum of tasks other than renewals at the same time.
        renewals: the maximum of renewals at the same time.
    """

    def __init__(self, homes: FleetHomes, pipelines: Sequence[Pipeline], *, work: int, renewals: int) -> None:
        self._database = homes.database
        self._master = homes.master
        self._clock = DatabaseClock(homes.database)
        self._devices = DeviceWork(homes, pipelines, Clocks(wall=self._clock.now))
        self._engine = Engine(homes.url, homes.database, self._devices.wake, work=work, renewals=renewals)

    async def run(self, stopped: Callable[[], Awaitable[None]], ready: Callable[[], None] = lambda: None) -> None:
        """Work until `stopped` returns, and then stop within ten seconds.

        Args:
            stopped: returns when the worker must stop.
            ready: called when it has started.

        Raises:
            InputError: the database or the master key cannot be used.
        """
        await run_sync(self._check)
        async with self._engine.opened(), anyio.create_task_group() as group:
            group.start_soon(self._read_clock)

            async def wait() -> None:
                logger.info("The worker is ready")
                ready()
                await stopped()
                logger.info("The worker stops")
                self._devices.stop_waiting()

            try:
                await self._engine.run(wait, grace=GRACE)
            finally:
                await self._devices.aclose()
            group.cancel_scope.cancel()
        logger.info("The worker has stopped")

    def metrics(self) -> str:
        """Return the metrics of the fleet and of this worker. Blocks.

        Raises:
            InputError: the database cannot be used.
        """
        with as_input_error():
            found = read_statistics(self._database, ended=False)
        return fleet_metrics(found) + self._devices.counter.metrics()

    def _check(self) -> None:
        with as_input_error(), self._database.connection() as connection:
            check_version(version_of(connection))
            check_schema(connection)
        with as_input_error():
            self._clock.read()
        self._master.newest()

    async def _read_clock(self) -> None:
        while True:
            await anyio.sleep(_READ_CLOCK_EVERY)
            try:
                await run_sync(self._clock.read)
            except (Error, PoolTimeout) as error:
                logger.warning("The database's clock cannot be read: %s", type(error).__name__)
