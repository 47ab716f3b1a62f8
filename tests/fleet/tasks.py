"""A fleet of its own for tests of tasks, and a look at its tables as their owner."""

from __future__ import annotations

import itertools
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any

from lab.postgres import Fleet
from mailslot.fleet.device_work import DeviceWork
from mailslot.fleet.homes import FleetHomes
from mailslot.fleet.opening import FleetPlaces
from mailslot.fleet.postgres.schema import ENGINE_SCHEMA, SCHEMA
from mailslot.oauth.timing import Clocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.service.pipeline import Pipeline


class TaskFleet(Fleet):
    """A fleet in a database of its own; each test has a tenant of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url, folder)
        self._tenants = itertools.count(1)

    def new_tenant(self) -> str:
        return f"tenant-{next(self._tenants)}"

    def work(self, *pipelines: Pipeline | Any, clocks: Clocks | None = None) -> DeviceWork:
        """What a worker does, as another process has it."""
        places = FleetPlaces(self.folder, self.folder / "master.key")
        return DeviceWork(FleetHomes(self.url, self.database, self.master, places), pipelines, clocks or Clocks())

    async def wake(self, home: PostgresHome, kind: str, *pipelines: Pipeline | Any, record: str = "") -> None:
        """Let a worker that has just been started work for a task."""
        async with aclosing(self.work(*pipelines)) as work:
            await work.wake(home.device.tenant_name, home.device.name, record, kind)

    @contextmanager
    def look(self) -> Iterator[Any]:
        with self.database.connection() as connection, connection.transaction():
            connection.execute(f"SET LOCAL search_path = {SCHEMA}, {ENGINE_SCHEMA}")
            yield connection

    def tasks(self, home: PostgresHome) -> dict[tuple[str, str], dict[str, Any]]:
        """The tasks of a device, by record and kind, with the seconds until they are due and looked at."""
        query = (
            "SELECT *, extract(epoch FROM due_at - now())::float AS due_in, extract(epoch FROM wake_at - now())::float "
            "AS wake_in FROM tasks WHERE device = %s"
        )
        with self.look() as connection:
            found = connection.execute(query, (home.device.number,)).fetchall()
        return {(row["record"], row["kind"]): row for row in found}

    def make_due(self, home: PostgresHome, *kinds: str) -> None:
        """Let some tasks be due, and be looked at."""
        query = "UPDATE tasks SET due_at = now() - interval '1 s', wake_at = now() WHERE device = %s AND kind = ANY(%s)"
        with self.look() as connection:
            connection.execute(query, (home.device.number, [*kinds]))

    def wakeups(self, tenants: Sequence[str]) -> list[tuple[str, str, str]]:
        """The wake-ups in the engine: tenant, record and kind, in the order in which workers take them."""
        query = "SELECT args FROM procrastinate_jobs WHERE args ->> 'tenant' = ANY(%s) ORDER BY priority DESC, id"
        with self.look() as connection:
            found = [row["args"] for row in connection.execute(query, ([*tenants],))]
        return [(each["tenant"], each["record"], each["kind"]) for each in found]

    def lose_wakeups(self) -> None:
        """Forget all wake-ups, and let the time pass after which a task gets another one."""
        with self.look() as connection:
            connection.execute("DELETE FROM procrastinate_jobs")
            connection.execute("UPDATE tasks SET wake_at = now() WHERE woken")
