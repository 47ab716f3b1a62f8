"""The tasks of a device, with the times when they are due. The database keeps them up to date.

A task has the time when it is due, and the time when it must be checked. Triggers bring both times forward, in the
transaction of the job, mail or setting that causes the task. A worker settles a task after its work, which sets the
next times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from mailslot.fleet.postgres.lease_keeper import LEFT_FOR
from mailslot.fleet.postgres.rows import DeviceRows
from mailslot.fleet.postgres.values import PostgresValues
from mailslot.service.service_lock import SERVICE_LOCK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.fleet.postgres.database import DeviceId, Rows

Kind = Literal["deliver", "poll", "handle", "renew", "plan"]
"""Deliver the jobs of all records; poll a record; handle fetched mail; renew a token; and plan these tasks after a
change of settings or secrets."""

TaskState = Literal["due", "early", "served", "gone"]
"""Whether a task is due, or due later; its device has its own service; or there is no such task."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_THIS: Final = "device = %(device)s AND record = %(record)s AND kind = %(kind)s"

_CHECK_JOBS_EVERY: Final = 86_400.0
"""Seconds after which a device without deliverable jobs is checked."""

_AT_EARLIEST: Final = 5.0
"""Seconds until the next delivery, for jobs left by the last one."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A poll or a renewal that the settings require.

    Attributes:
        record: the record.
        kind: the kind of task.
        seconds: the seconds until a new task is due.
        period: the seconds between two polls; 0.0 for a renewal.
    """

    record: str
    kind: Literal["poll", "renew"]
    seconds: float
    period: float = 0.0


class TaskRows(DeviceRows):
    """The tasks of a device, in a transaction.

    Attributes:
        values: the values of the pipelines' stores, which can be written together with a task.
    """

    def __init__(self, connection: Rows, device: DeviceId) -> None:
        super().__init__(connection, device)
        self.values: Final = PostgresValues(connection, device)

    def begin(self, record: str, kind: Kind) -> TaskState:
        """Record that the wake-up of a task has arrived; return whether there is work to do."""
        query = (
            "UPDATE tasks SET woken = false, wake_at = CASE WHEN due_at <= now() THEN wake_at ELSE due_at END "
            f"WHERE {_THIS} RETURNING due_at <= now() AS due, EXISTS (SELECT FROM leases "
            "WHERE leases.device = %(device)s AND name = %(service)s "
            "AND until > clock_timestamp() - make_interval(secs => %(left)s)) AS served"
        )
        row = self.one(query, record=record, kind=kind, service=SERVICE_LOCK, left=LEFT_FOR)
        if row is None:
            return "gone"
        if not row["due"]:
            return "early"
        return "served" if row["served"] else "due"

    def leave(self, record: str, kind: Kind, seconds: float) -> None:
        """Postpone the next check of a task by some seconds, since another process works on it."""
        query = f"UPDATE tasks SET wake_at = now() + make_interval(secs => %(seconds)s) WHERE {_THIS}"
        self.execute(query, record=record, kind=kind, seconds=seconds)

    def settle_delivery(self, records: Iterable[str], probe: float | None) -> None:
        """Set when jobs are due next.

        Args:
            records: the sending records; jobs of other records wait until there is one of that name.
            probe: seconds until held jobs are tried again; None if a person must act first.
        """
        due_at = self.value(
            "SELECT greatest(now() + make_interval(secs => %(earliest)s), least("
            "min(CASE WHEN state IN ('queued', 'deferred') AND NOT via = ANY(%(records)s) THEN NULL "
            "WHEN state = 'queued' THEN now() "
            "WHEN state = 'deferred' OR (state = 'in_doubt' AND next_attempt IS NOT NULL) "
            "THEN to_timestamp(next_attempt) "
            "WHEN state = 'sending' OR delivering THEN now() + interval '1 minute' END), "
            "min(CASE WHEN state = 'held' THEN now() + make_interval(secs => %(probe)s) END), "
            "now() + make_interval(secs => %(most)s))) FROM jobs WHERE device = %(device)s HAVING count(*) > 0",
            earliest=_AT_EARLIEST,
            records=[*records],
            probe=probe,
            most=_CHECK_JOBS_EVERY,
        )
        self._settle("", "deliver", due_at)

    def settle_handling(self, record: str) -> None:
        """Set when fetched mail of a record is due to be handled next."""
        due_at = self.value(
            "SELECT greatest(now() + make_interval(secs => %(earliest)s), to_timestamp(min(coalesce(due_at, 0)))) "
            "FROM mails WHERE device = %(device)s AND record = %(record)s AND state = 'fetched' HAVING count(*) > 0",
            earliest=_AT_EARLIEST,
            record=record,
        )
        self._settle(record, "handle", due_at)

    def settle(self, record: str, kind: Kind, seconds: float, *, cause: str | None = None) -> None:
        """Set the seconds until a task is due again, and the cause if it has failed."""
        query = (
            "UPDATE tasks SET due_at = now() + make_interval(secs => %(seconds)s), "
            "wake_at = now() + make_interval(secs => %(seconds)s), woken = false, cause = %(cause)s, "
            f"failures = CASE WHEN %(cause)s::text IS NULL THEN 0 ELSE failures + 1 END WHERE {_THIS}"
        )
        self.execute(query, record=record, kind=kind, seconds=seconds, cause=cause)

    def remove(self, record: str, kind: Kind) -> None:
        """Remove a task."""
        self.execute(f"DELETE FROM tasks WHERE {_THIS}", record=record, kind=kind)

    def failures(self, record: str, kind: Kind) -> int:
        """Return the number of a task's failures since it last succeeded."""
        return self.number(f"SELECT failures FROM tasks WHERE {_THIS}", record=record, kind=kind) or 0

    def replan(self, planned: Iterable[Planned], unknown: Iterable[str]) -> None:
        """Replace the polls and renewals by those that the settings require.

        Args:
            planned: all required polls and renewals.
            unknown: records whose secrets cannot be read now, and whose tasks are kept.
        """
        tasks = [*planned]
        self.execute(
            "DELETE FROM tasks WHERE device = %(device)s AND kind IN ('poll', 'renew') "
            "AND NOT record = ANY(%(unknown)s) AND NOT (kind || ' ' || record) = ANY(%(tasks)s)",
            unknown=[*unknown],
            tasks=[f"{task.kind} {task.record}" for task in tasks],
        )
        # A poll keeps its time, unless its interval has changed, or it has failed and may work now.
        self.execute_many(
            "INSERT INTO tasks AS known (tenant, device, record, kind, due_at, wake_at, period) VALUES (%(tenant)s, "
            "%(device)s, %(record)s, %(kind)s, now() + make_interval(secs => %(seconds)s), "
            "now() + make_interval(secs => %(seconds)s), %(period)s) ON CONFLICT (device, record, kind) DO UPDATE SET "
            "due_at = CASE WHEN known.failures > 0 AND known.kind = 'poll' THEN now() ELSE excluded.due_at END, "
            "wake_at = CASE WHEN known.failures > 0 AND known.kind = 'poll' THEN now() ELSE excluded.wake_at END, "
            "period = excluded.period, failures = 0 "
            "WHERE known.kind = 'renew' OR known.period <> excluded.period OR known.failures > 0",
            [
                {"record": task.record, "kind": task.kind, "seconds": task.seconds, "period": task.period}
                for task in tasks
            ],
        )
        # The reason why jobs were stopped may be over.
        self.execute(
            "SELECT hasten(%(tenant)s, %(device)s, '', 'deliver', now()) WHERE EXISTS (SELECT FROM jobs "
            "WHERE device = %(device)s AND state IN ('queued', 'deferred', 'held'))"
        )

    def _settle(self, record: str, kind: Kind, due_at: object) -> None:
        if due_at is None:
            self.remove(record, kind)
            return
        self.execute(
            f"UPDATE tasks SET due_at = %(due_at)s, wake_at = %(due_at)s, woken = false, failures = 0 WHERE {_THIS}",
            record=record,
            kind=kind,
            due_at=due_at,
        )
