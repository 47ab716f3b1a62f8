"""The scan for due tasks of all tenants, which creates their wake-ups.

The engine has only a few wake-ups of each tenant at a time. The others wait in the table, so that a tenant with many
due tasks does not delay the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.fleet.postgres.schema import ENGINE_SCHEMA, SCHEMA

if TYPE_CHECKING:
    from mailslot.fleet.postgres.database import FleetDatabase, Rows

PER_TENANT: Final = 50
"""The wake-ups that each tenant may have in the engine, for any number of tenants."""

TOGETHER: Final = 400
"""The wake-ups in the engine that few tenants with due tasks share, so that each may have more than `PER_TENANT`."""

LISTED: Final = 5_000
"""Up to this number, due tasks are read to find their tenants; with more, each tenant is checked."""

AGAIN_AFTER: Final = 60.0
"""Seconds after which a task gets another wake-up if the last one had no effect."""

PER_TURN: Final = 2.0
"""Seconds by which each wake-up of a tenant in the engine makes its next one count as later."""

_REMOVED_AFTER: Final = 3600.0
"""Seconds after which a wake-up that was taken but never finished is removed from the engine."""

LATE_AFTER: Final = 60.0
"""Seconds after which a due task counts as late."""

TASK: Final = "wake"
"""The name of the task in the engine."""

QUEUE: Final = "work"
RENEWALS: Final = "renewals"
"""The queue of renewals, which have workers of their own, so that slow polls do not keep them waiting."""

# Usually few tasks are due, and tenants without due tasks cost nothing.
_TENANTS_OF_FEW: Final = """
    SELECT count(*)::integer AS number, coalesce(array_agg(DISTINCT tenant), '{}') AS tenants
    FROM (SELECT tenant FROM tasks WHERE wake_at <= now() ORDER BY wake_at LIMIT %s) AS due
"""

# PostgreSQL does not know the number of due tasks, and would read those of all tenants for each tenant. The comparison
# as a pair makes it use the index that begins with the tenant.
_IS_DUE: Final = "tasks.tenant = tenants.id AND (tasks.tenant, tasks.wake_at) <= (tenants.id, now())"

# Many tasks may belong to one tenant, for example if its servers were down for long. Reading them all would cost more
# than checking each tenant.
_TENANTS_OF_MANY: Final = f"""
    SELECT coalesce(array_agg(id), '{{}}') AS tenants FROM tenants
    CROSS JOIN LATERAL (SELECT FROM tasks WHERE {_IS_DUE} LIMIT 1) AS one
"""

# Workers take the wake-ups in the order of their time, where each wake-up that its tenant already has makes one count
# as later (start-time fair queueing). So a tenant with few of them does not wait for all wake-ups of a large one, and
# none waits for ever. The engine has whole numbers of 32 bits for that, and takes the largest one first.
#
# Renewals have their own lock beside that of the record, since they may run during a poll. The lock of a delivery is
# the device's, as for its queue.
_SCAN: Final = f"""
    WITH found AS (
        SELECT tasks.*, waiting.number AS waiting
        FROM unnest(%(tenants)s::bigint[]) AS tenants (id)
        CROSS JOIN LATERAL (SELECT count(*) AS number FROM tasks
            WHERE tasks.tenant = tenants.id AND woken AND wake_at > now()) AS waiting
        CROSS JOIN LATERAL (SELECT tasks.tenant, tasks.device, tasks.record, tasks.kind, tasks.wake_at FROM tasks
            WHERE {_IS_DUE} ORDER BY tasks.wake_at
            LIMIT greatest(%(most)s - waiting.number, 0) FOR UPDATE SKIP LOCKED) AS tasks
    ), moved AS (
        UPDATE tasks SET woken = true, wake_at = now() + make_interval(secs => %(again)s) FROM found
        WHERE tasks.device = found.device AND tasks.record = found.record AND tasks.kind = found.kind
        RETURNING tasks.tenant, tasks.device, tasks.record, tasks.kind, found.wake_at AS since, found.waiting
    ), named AS (
        SELECT moved.*, tenants.name AS tenant_name, devices.name AS device_name,
            concat_ws('/', moved.device, moved.record, moved.kind) AS name,
            concat_ws('/', moved.device, moved.record,
                CASE WHEN kind IN ('poll', 'handle') THEN 'mail' ELSE kind END) AS lock,
            (extract(epoch FROM now() - '2026-01-01 00:00Z'::timestamptz) + %(per_turn)s
                * (moved.waiting + row_number() OVER (PARTITION BY moved.tenant ORDER BY since)))::integer AS turn
        FROM moved JOIN devices ON devices.id = moved.device JOIN tenants ON tenants.id = moved.tenant
    ), wakeups AS (
        SELECT row(CASE kind WHEN 'renew' THEN '{RENEWALS}' ELSE '{QUEUE}' END, '{TASK}', -turn, lock, name,
            jsonb_build_object('tenant', tenant_name, 'device', device_name, 'record', record, 'kind', kind), NULL
            )::procrastinate_job_to_defer_v1 AS wakeup, turn, since
        FROM named WHERE NOT EXISTS (SELECT FROM procrastinate_jobs WHERE queueing_lock = name AND status = 'todo')
    )
    SELECT (SELECT count(*) FROM found)::integer AS found,
        (SELECT cardinality(procrastinate_defer_jobs_v1(array_agg(wakeup ORDER BY turn, since)))
            FROM wakeups HAVING count(*) > 0) AS deferred
"""


def scan(
    database: FleetDatabase,
    *,
    per_tenant: int = PER_TENANT,
    together: int = TOGETHER,
    listed: int = LISTED,
    per_turn: float = PER_TURN,
) -> int:
    """Wake workers for the tasks that are due, in one transaction; return how many were found. Blocks.

    Args:
        database: the fleet's.
        per_tenant: see `PER_TENANT`.
        together: see `TOGETHER`.
        listed: see `LISTED`.
        per_turn: see `PER_TURN`.
    """
    with database.connection() as connection, connection.transaction():
        _set_path(connection)
        tenants = _tenants(connection, listed)
        most = max(per_tenant, together // max(len(tenants), 1))
        values = {"most": most, "again": AGAIN_AFTER, "tenants": tenants, "per_turn": per_turn}
        row = connection.execute(_SCAN.encode(), values).fetchone()
        connection.execute("UPDATE schema_version SET scanned_at = now()")
        return 0 if row is None else int(row["found"])


def _tenants(connection: Rows, listed: int) -> list[int]:
    """Return the tenants that have due tasks."""
    due = connection.execute(_TENANTS_OF_FEW.encode(), (listed + 1,)).fetchone()
    if due is not None and due["number"] > listed:
        due = connection.execute(_TENANTS_OF_MANY.encode()).fetchone()
    return [] if due is None else due["tenants"]


def unlock_old(database: FleetDatabase) -> int:
    """Unlock wake-ups that were taken more than a minute ago; return their number. Blocks.

    If a worker's connection breaks when it reports the end of its work, the engine never receives that. One that is
    still working has a lease, which excludes others. After an hour, the wake-up is removed.
    """
    query = (
        "UPDATE procrastinate_jobs AS jobs SET lock = NULL FROM procrastinate_events AS events "
        "WHERE events.job_id = jobs.id AND events.type = 'started' AND jobs.status = 'doing' AND jobs.lock IS NOT NULL "
        "AND events.at < now() - make_interval(secs => %s)"
    )
    with database.connection() as connection, connection.transaction():
        _set_path(connection)
        connection.execute(
            "DELETE FROM procrastinate_jobs AS jobs USING procrastinate_events AS events WHERE events.job_id = jobs.id "
            "AND events.type = 'started' AND jobs.status = 'doing' AND events.at < now() - make_interval(secs => %s)",
            (_REMOVED_AFTER,),
        )
        return connection.execute(query, (AGAIN_AFTER,)).rowcount


def _set_path(connection: Rows) -> None:
    connection.execute("SELECT set_config('search_path', %s, true)", (f"{SCHEMA}, {ENGINE_SCHEMA}, pg_temp",))
