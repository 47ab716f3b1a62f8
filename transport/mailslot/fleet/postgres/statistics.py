"""Statistics of a fleet, for each tenant and in total."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from psycopg import IsolationLevel

from mailslot.fleet.postgres import servers
from mailslot.fleet.postgres.due_scan import LATE_AFTER
from mailslot.fleet.postgres.schema import ENGINE_SCHEMA, SCHEMA
from mailslot.spool.job import UNFINISHED

if TYPE_CHECKING:
    from mailslot.fleet.postgres.database import FleetDatabase, Rows
    from mailslot.fleet.postgres.servers import ServerState

MOST_SERVERS: Final = 50
"""The maximum number of servers in the statistics."""

_OPEN_JOBS: Final = "state NOT IN ('sent', 'cancelled')"
_OPEN_MAILS: Final = "state <> 'done'"
"""The same conditions as in the indexes, so that finished rows need not be counted."""


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """The numbers of tasks, without those of devices with their own service.

    Attributes:
        tasks: the number of tasks.
        due: the number of due tasks, including those in work.
        late: the number of tasks that have been due for more than `LATE_AFTER`.
        failing: the number of tasks whose last attempt failed.
        longest: the seconds for which the oldest one has been due.
    """

    tasks: int = 0
    due: int = 0
    late: int = 0
    failing: int = 0
    longest: float = 0.0

    def __add__(self, other: TaskCounts) -> TaskCounts:
        """Return the sum of two counts."""
        return TaskCounts(
            self.tasks + other.tasks,
            self.due + other.due,
            self.late + other.late,
            self.failing + other.failing,
            max(self.longest, other.longest),
        )


@dataclass(slots=True)
class Counts:
    """The counts of one or several tenants.

    Attributes:
        devices: the number of its devices.
        serving: the number of devices with their own running service.
        jobs: the number of jobs by state.
        mails: the number of mails by state.
        oldest_job: the age in seconds of the oldest unfinished job; None if there is none.
        tasks: the counts of the tasks of each kind.
    """

    devices: int = 0
    serving: int = 0
    jobs: Counter[str] = field(default_factory=Counter[str])
    mails: Counter[str] = field(default_factory=Counter[str])
    oldest_job: float | None = None
    tasks: dict[str, TaskCounts] = field(default_factory=dict[str, TaskCounts])

    def add(self, other: Counts) -> None:
        """Add other counts."""
        self.devices += other.devices
        self.serving += other.serving
        self.jobs.update(other.jobs)
        self.mails.update(other.mails)
        ages = [each for each in (self.oldest_job, other.oldest_job) if each is not None]
        self.oldest_job = max(ages, default=None)
        for kind, counts in other.tasks.items():
            self.tasks[kind] = self.tasks.get(kind, TaskCounts()) + counts

    @property
    def all_tasks(self) -> TaskCounts:
        """The counts of the tasks of all kinds."""
        return sum(self.tasks.values(), TaskCounts())


@dataclass(slots=True)
class Statistics:
    """The statistics of a fleet.

    Attributes:
        tenants: the counts of each tenant, by name.
        causes: the number of tasks whose last attempt failed, by kind and cause.
        wakeups: the number of wake-ups in the engine, by queue and state.
        scanned_at: when a worker last scanned for due tasks, in seconds since 1970; None if none ever has.
        now: the database's time, in seconds since 1970.
        stopped: the number of servers with a pause.
        servers: those with the longest outages.
    """

    tenants: dict[str, Counts]
    causes: dict[tuple[str, str], int]
    wakeups: dict[tuple[str, str], int]
    scanned_at: float | None
    now: float
    stopped: int
    servers: list[ServerState]

    @property
    def total(self) -> Counts:
        """The counts of the whole fleet."""
        total = Counts()
        for each in self.tenants.values():
            total.add(each)
        return total


_DEVICES: Final = """
    SELECT tenants.name AS tenant, (SELECT count(*) FROM devices WHERE devices.tenant = tenants.id) AS devices,
        (SELECT count(*) FROM leases WHERE leases.tenant = tenants.id AND leases.name = 'service'
            AND until > clock_timestamp()) AS serving
    FROM tenants ORDER BY tenants.name
"""

_JOBS: Final = """
    SELECT tenants.name AS tenant, state, count(*) AS number,
        max(extract(epoch FROM now()) - created_at)::double precision AS age
    FROM jobs_of_all AS jobs JOIN tenants ON tenants.id = jobs.tenant WHERE {condition} GROUP BY tenants.name, state
"""

_MAILS: Final = """
    SELECT tenants.name AS tenant, state, count(*) AS number
    FROM mails_of_all AS mails JOIN tenants ON tenants.id = mails.tenant WHERE {condition} GROUP BY tenants.name, state
"""

_TASKS: Final = """
    SELECT tenants.name AS tenant, kind, count(*)::integer AS tasks,
        (count(*) FILTER (WHERE due_at <= now()))::integer AS due,
        (count(*) FILTER (WHERE due_at <= now() - make_interval(secs => %(late)s)))::integer AS late,
        (count(*) FILTER (WHERE failures > 0))::integer AS failing,
        coalesce(extract(epoch FROM max(now() - due_at) FILTER (WHERE due_at <= now())), 0)::double precision AS longest
    FROM tasks JOIN tenants ON tenants.id = tasks.tenant WHERE NOT EXISTS (SELECT FROM leases
        WHERE leases.device = tasks.device AND leases.name = 'service' AND until > clock_timestamp())
    GROUP BY tenants.name, kind
"""

_CAUSES: Final = """
    SELECT kind, coalesce(cause, 'unknown') AS cause, count(*) AS number FROM tasks WHERE failures > 0
    GROUP BY kind, 2 ORDER BY kind, 2
"""

_WAKEUPS: Final = """
    SELECT queue_name AS queue, status::text AS state, count(*) AS number FROM procrastinate_jobs
    GROUP BY queue_name, status ORDER BY queue_name, status
"""

_TIMES: Final = """
    SELECT extract(epoch FROM scanned_at)::double precision AS scanned_at,
        extract(epoch FROM now())::double precision AS now,
        (SELECT count(DISTINCT name) FROM servers WHERE until IS NOT NULL) AS stopped FROM schema_version
"""


def read_statistics(database: FleetDatabase, *, ended: bool) -> Statistics:
    """Count. Blocks.

    Args:
        database: the database, whose user owns its tables, or is a worker's.
        ended: whether to count the jobs that were sent or cancelled and the mails that were handled, too; there may
            be very many.

    Raises:
        psycopg.Error: the database cannot be used.
    """
    with database.connection() as connection:
        connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
        with connection.transaction():
            connection.execute("SELECT set_config('search_path', %s, true)", (f"{SCHEMA}, {ENGINE_SCHEMA}, pg_temp",))
            return _read(connection, ended=ended)


def _read(connection: Rows, *, ended: bool) -> Statistics:
    tenants = {
        row["tenant"]: Counts(devices=row["devices"], serving=row["serving"]) for row in connection.execute(_DEVICES)
    }
    for row in connection.execute(_JOBS.format(condition="true" if ended else _OPEN_JOBS).encode()):
        counts = tenants[row["tenant"]]
        counts.jobs[row["state"]] = row["number"]
        if row["state"] in UNFINISHED:
            counts.oldest_job = max(counts.oldest_job or 0.0, row["age"])
    for row in connection.execute(_MAILS.format(condition="true" if ended else _OPEN_MAILS).encode()):
        tenants[row["tenant"]].mails[row["state"]] = row["number"]
    for row in connection.execute(_TASKS, {"late": LATE_AFTER}):
        tenant, kind = row.pop("tenant"), row.pop("kind")
        tenants[tenant].tasks[kind] = TaskCounts(**row)
    causes = {(row["kind"], row["cause"]): row["number"] for row in connection.execute(_CAUSES)}
    wakeups = {(row["queue"], row["state"]): row["number"] for row in connection.execute(_WAKEUPS)}
    times = connection.execute(_TIMES).fetchone()
    assert times is not None  # noqa: S101 - the tables are there
    stopped = servers.stopped(connection, MOST_SERVERS)
    return Statistics(tenants, causes, wakeups, times["scanned_at"], times["now"], times["stopped"], stopped)
