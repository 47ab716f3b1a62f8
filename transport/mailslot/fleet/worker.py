"""A worker of a fleet: one of any number of processes, on any number of machines, that work for all its devices."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync
from psycopg import Error
from psycopg_pool import PoolTimeout

from mailslot.fleet.device_work import DeviceWork
from mailslot.fleet.engine import Engine, check_schema
from mailslot.fleet.postgres.clock import DatabaseClock
from mailslot.fleet.postgres.errors import as_input_error
from mailslot.fleet.postgres.home import check_version
from mailslot.fleet.postgres.schema import version_of
from mailslot.oauth.timing import Clocks
from mailslot.service.worker import GRACE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mailslot.fleet.master_key import MasterKey
    from mailslot.fleet.opening import FleetPlaces
    from mailslot.fleet.postgres.database import FleetDatabase
    from mailslot.service.pipeline import Pipeline

_READ_CLOCK_EVERY: Final = 60.0

logger = logging.getLogger(__name__)


class FleetWorker:
    """A worker, on asyncio.

    Args:
        url: the address of the database.
        database: the same database.
        master: the master key.
        places: where the machine has what belongs to it.
        pipelines: the pipelines that handle mail.
        work: how many tasks to work for at a time, besides renewals.
        renewals: how many renewals at a time.
    """

    def __init__(
        self,
        url: str,
        database: FleetDatabase,
        master: MasterKey,
        places: FleetPlaces,
        pipelines: Sequence[Pipeline],
        *,
        work: int,
        renewals: int,
    ) -> None:
        self._database = database
        self._master = master
        self._clock = DatabaseClock(database)
        devices = DeviceWork(url, database, master, places, pipelines, Clocks(wall=self._clock.now))
        self._engine = Engine(url, database, devices.wake, work=work, renewals=renewals)

    async def run(self, stopped: Callable[[], Awaitable[None]], ready: Callable[[], None] = lambda: None) -> None:
        """Work until `stopped` returns, and then stop within ten seconds.

        Args:
            stopped: returns when the worker is to stop.
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

            await self._engine.run(wait, grace=GRACE)
            group.cancel_scope.cancel()
        logger.info("The worker has stopped")

    def _check(self) -> None:
        with as_input_error(), self._database.connection() as connection:
            check_version(version_of(connection))
            check_schema(connection)
        with as_input_error():
            self._clock.read()
        _ = self._master.name

    async def _read_clock(self) -> None:
        while True:
            await anyio.sleep(_READ_CLOCK_EVERY)
            try:
                await run_sync(self._clock.read)
            except (Error, PoolTimeout) as error:
                logger.warning("The database's clock cannot be read: %s", type(error).__name__)
