"""The engine, procrastinate, which passes wake-ups from the scan to the workers on all machines.

A wake-up only names the task to check. It may be lost, duplicated or late: the task itself is in our own table, which
the worker reads first.
"""

from __future__ import annotations

import asyncio
import logging
import select
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.to_thread import run_sync
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException, ProcrastinateException
from procrastinate.jobs import DeleteJobCondition, Job, Status
from procrastinate.manager import JobManager
from procrastinate.schema import SchemaManager
from psycopg import Error
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from mailslot.errors import InputError
from mailslot.fleet.postgres.due_scan import QUEUE, RENEWALS, TASK, scan, unlock_old
from mailslot.fleet.postgres.schema import ENGINE_SCHEMA
from mailslot.fleet.postgres.servers import forget_old

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

    from psycopg import AsyncConnection

    from mailslot.fleet.postgres.database import FleetDatabase, Rows

_SCANS: Final = "scans"

_SCAN_AT: Final = "* * * * * */2"
"""When to scan: every two seconds."""

_CLEAN_UP_AT: Final = "* * * * * */15"
_DEAD_AFTER: Final = 40.0
"""Seconds after which a process without a heartbeat counts as dead."""

_BEGIN: Final = f"BEGIN; SET LOCAL search_path = {ENGINE_SCHEMA}, pg_temp"

_POLL_INTERVAL: Final = 1.0
_FIRST_PAUSE: Final = 1.0
_MAX_PAUSE: Final = 30.0

logger = logging.getLogger(__name__)


def engine_version() -> str:
    """Return the installed version, as stored in the comment on the schema."""
    return f"procrastinate {version('procrastinate')}"


def create_schema(connection: Rows) -> None:
    """Create the engine's tables, replacing those of another version; lost wake-ups are created again by the scan."""
    with connection.transaction():
        if _installed(connection) == engine_version():
            return
        connection.execute(f"DROP SCHEMA IF EXISTS {ENGINE_SCHEMA} CASCADE".encode())
        connection.execute(f"CREATE SCHEMA {ENGINE_SCHEMA}".encode())
        connection.execute(f"SET LOCAL search_path = {ENGINE_SCHEMA}, pg_temp".encode())
        connection.execute(SchemaManager.get_schema())
        connection.execute(f"COMMENT ON SCHEMA {ENGINE_SCHEMA} IS '{engine_version()}'".encode())


def check_schema(connection: Rows) -> None:
    """Check that the engine's tables are those of the installed version.

    Raises:
        InputError: they are not.
    """
    if _installed(connection) != engine_version():
        raise InputError(
            "The fleet's tables for workers are of another version: run mailslot fleet init.", stage="resolve"
        )


def _installed(connection: Rows) -> str | None:
    row = connection.execute(
        "SELECT obj_description(oid, 'pg_namespace') AS version FROM pg_namespace WHERE nspname = %s", (ENGINE_SCHEMA,)
    ).fetchone()
    return None if row is None else row["version"]


class _Pool(AsyncConnectionPool[Any]):
    """A pool whose transactions set the search path to the engine's tables, since a pooler may change connections."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of the pool
        # The pool's own check would cost each transaction a round trip.
        options["check"] = _check
        options["configure"] = _begin_by_ourselves
        super().__init__(**options)

    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncGenerator[AsyncConnection[Any]]:
        async with super().connection(timeout) as connection:
            await connection.execute(_BEGIN.encode())
            # The pool commits, or rolls back.
            yield connection


async def _check(connection: AsyncConnection[Any]) -> None:
    """Raise if an idle connection is broken, for example after a restart of the database."""
    # An unsolicited message of the server is most often the end of the connection.
    idle = select.poll()
    idle.register(connection.pgconn.socket, select.POLLIN)
    if idle.poll(0):
        await connection.execute("SELECT")


async def _begin_by_ourselves(connection: AsyncConnection[Any]) -> None:
    await connection.set_autocommit(True)


class _JobManager(JobManager):
    """Stores the results of wake-ups."""

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:  # noqa: FBT001 - as in the base class
        try:
            await super().finish_job(job, status, delete_job)
        except ConnectorException as error:
            # Its task is done, or will get another wake-up. After a while, the clean-up removes this one.
            logger.warning("A wake-up has ended, which could not be noted: %s", type(error).__name__)


class Engine:
    """The engine of one process, on asyncio.

    Args:
        url: the address of the database.
        database: the same database, for scans.
        wake: works for a task, given by tenant, device, record and kind; it raises only cancellations.
        work: the maximum of tasks other than renewals at the same time.
        renewals: the maximum of renewals at the same time.
    """

    def __init__(
        self,
        url: str,
        database: FleetDatabase,
        wake: Callable[[str, str, str, str], Coroutine[Any, Any, None]],
        *,
        work: int,
        renewals: int,
    ) -> None:
        self._database = database
        self._wake = wake
        self._queues = {_SCANS: 1, RENEWALS: renewals, QUEUE: work}
        connector = PsycopgConnector(
            conninfo=url,
            pool_factory=_Pool,
            min_size=1,
            max_size=4,
            timeout=15.0,
            kwargs={"prepare_threshold": None, "connect_timeout": 10, "application_name": "mailslot wake-ups"},
        )
        self._app = App(connector=connector)
        self._app.job_manager = _JobManager(connector)
        self._register()

    def _register(self) -> None:
        app = self._app

        @app.task(name=TASK)
        async def wake(tenant: str, device: str, record: str, kind: str) -> None:
            # When it stops, or has lost the database for a moment, procrastinate cancels its task, and no scope shields
            # from that. Our own task is cancelled by a scope, so that it still gets the results of its threads.
            async with anyio.create_task_group() as group:
                group.start_soon(self._wake, tenant, device, record, kind)

        @app.periodic(cron=_SCAN_AT)
        @app.task(name="scan", queue=_SCANS, queueing_lock="scan")
        async def find_due(timestamp: int) -> None:
            del timestamp
            await self._guard(self._scan)

        @app.periodic(cron=_CLEAN_UP_AT)
        @app.task(name="clean up", queue=_SCANS, queueing_lock="clean up")
        async def clean_up(timestamp: int) -> None:
            del timestamp
            await self._guard(self._forget_dead)

    async def run(self, stopped: Callable[[], Awaitable[None]], *, grace: float) -> None:
        """Work until `stopped` returns; running work may take `grace` seconds more."""
        # Not anyio's tasks, which would cancel procrastinate repeatedly while it finishes its work.
        tasks = [
            asyncio.create_task(self._run_queue(queue, number, grace), name=queue)
            for queue, number in self._queues.items()
        ]
        try:
            await stopped()
        finally:
            with anyio.CancelScope(shield=True):
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Keep the engine's connections open while the block runs."""
        async with self._app.open_async():
            yield

    async def _run_queue(self, queue: str, number: int, grace: float) -> None:
        pause = _FIRST_PAUSE
        while True:
            began = anyio.current_time()
            try:
                await self._app.run_worker_async(
                    queues=[queue],
                    concurrency=number,
                    name=queue,
                    # A pooler does not pass on notifications.
                    listen_notify=False,
                    fetch_job_polling_interval=_POLL_INTERVAL,
                    shutdown_graceful_timeout=grace,
                    delete_jobs=DeleteJobCondition.ALWAYS,
                    install_signal_handlers=False,
                    stalled_worker_timeout=_DEAD_AFTER,
                )
            except Exception as error:  # noqa: BLE001 - such as without a database; the other queues must continue
                logger.warning("Wake-ups cannot be fetched, and this is tried again: %s", type(error).__name__)
            if anyio.current_time() - began > 2 * _MAX_PAUSE:
                pause = _FIRST_PAUSE
            await anyio.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE)

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (Error, PoolTimeout, ProcrastinateException) as error:
            logger.warning("The tasks that are due could not be looked for: %s", type(error).__name__)

    async def _scan(self) -> None:
        await run_sync(scan, self._database)

    async def _forget_dead(self) -> None:
        """Delete wake-ups taken by dead processes, whose locks would block others."""
        manager = self._app.job_manager
        for job in await manager.get_stalled_jobs(seconds_since_heartbeat=_DEAD_AFTER):
            await manager.finish_job(job, status=Status.FAILED, delete_job=True)
        await run_sync(unlock_old, self._database)
        await run_sync(forget_old, self._database)
