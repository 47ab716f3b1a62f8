"""The states of servers that could not be reached, shared by all workers.

A row has the consecutive failures of one tenant's devices since the server last responded to anybody. Before the time
`until`, no device of the tenant may try it, and afterwards one at a time. A row with `for_all` applies to every tenant;
it requires failures of several tenants, so that one tenant's settings cannot stop a server for the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.fleet.postgres.schema import SCHEMA

if TYPE_CHECKING:
    from mailslot.errors import MailError, Stage
    from mailslot.fleet.postgres.database import FleetDatabase, Rows

FAILURES: Final = 5
"""Consecutive failures of a tenant's devices after which they pause their attempts."""

TENANTS: Final = 3
"""Tenants with consecutive failures after which all devices pause their attempts."""

PAUSES: Final = (15.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds of the first pause, the second, and so on."""

PROBE: Final = 60.0
"""Seconds after which another attempt is allowed if the last one has no result."""

_FORGOTTEN_AFTER: Final = 600.0
"""Seconds after which failures that did not cause a pause no longer count."""

_REMOVED_AFTER: Final = 86_400.0
"""Seconds without attempts after which a server's state is deleted."""

_COLUMNS: Final = (
    "name, tenant, failures, openings, stage, cause, for_all, extract(epoch FROM since)::double precision AS since, "
    "extract(epoch FROM until - clock_timestamp())::double precision AS remaining"
)


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server that a tenant's devices could not reach.

    Attributes:
        name: its name and port.
        tenant: the number of the tenant.
        failures: the number of failures since it last responded.
        openings: the number of pauses since then, including the current one.
        stage: the stage at which the last attempt failed.
        cause: the cause of the last failure.
        for_all: whether the pause applies to all tenants.
        since: when the first attempt failed, in seconds since 1970.
        remaining: seconds until it may be tried again; None without a pause.
    """

    name: str
    tenant: int
    failures: int
    openings: int
    stage: Stage
    cause: str
    for_all: bool
    since: float
    remaining: float | None


def find(database: FleetDatabase, name: str) -> list[ServerState]:
    """Return the states of a server; empty if it responded at the last attempt. Blocks."""
    with database.connection() as connection:
        return _states(connection, "name = %s", name)


def stopped(connection: Rows, most: int) -> list[ServerState]:
    """Return the servers with a pause, those with the longest outage first."""
    return _states(connection, "until IS NOT NULL ORDER BY since, name LIMIT %s", most)


def claim_probe(database: FleetDatabase, state: ServerState) -> bool:
    """Claim the single attempt after a pause; return whether nobody else has claimed it. Blocks."""
    query = (
        f"UPDATE {SCHEMA}.servers SET until = clock_timestamp() + make_interval(secs => %s) "
        "WHERE name = %s AND tenant = %s AND until <= clock_timestamp()"
    )
    with database.connection() as connection:
        return connection.execute(query.encode(), (PROBE, state.name, state.tenant)).rowcount == 1


def note_answer(database: FleetDatabase, name: str) -> None:
    """Record that a server has responded. Blocks."""
    with database.connection() as connection:
        connection.execute(f"DELETE FROM {SCHEMA}.servers WHERE name = %s".encode(), (name,))


def note_failed_probe(database: FleetDatabase, state: ServerState, error: MailError) -> None:
    """Record that the attempt after a pause has failed, too. Blocks."""
    query = (
        f"UPDATE {SCHEMA}.servers SET failures = failures + 1, openings = openings + 1, failed_at = now(), "
        "stage = %(stage)s, cause = %(cause)s, until = clock_timestamp() + make_interval("
        "secs => (%(pauses)s::double precision[])[least(openings + 1, %(last)s)]) "
        "WHERE name = %(name)s AND tenant = %(tenant)s AND until IS NOT NULL"
    )
    values = {"stage": error.stage, "cause": error.cause, "name": state.name, "tenant": state.tenant}
    with database.connection() as connection:
        connection.execute(query.encode(), {**values, "pauses": [*PAUSES], "last": len(PAUSES)})


def note_failure(database: FleetDatabase, name: str, tenant: int, error: MailError) -> bool:
    """Record a failure to reach a server; return whether this begins a pause. Blocks."""
    forget = (
        "DELETE FROM servers WHERE name = %(name)s AND until IS NULL "
        "AND failed_at < now() - make_interval(secs => %(forgotten)s)"
    )
    # An attempt that began before the pause and fails during it gives no new information.
    count = (
        "INSERT INTO servers AS known (name, tenant, stage, cause) VALUES (%(name)s, %(tenant)s, %(stage)s, %(cause)s) "
        "ON CONFLICT (name, tenant) DO UPDATE SET failures = known.failures + 1, failed_at = now(), "
        "stage = excluded.stage, cause = excluded.cause WHERE known.until IS NULL"
    )
    stop = (
        "UPDATE servers SET openings = 1, until = clock_timestamp() + make_interval(secs => %(pause)s), "
        "for_all = tenants.number >= %(tenants)s "
        "FROM (SELECT count(*) AS number FROM servers WHERE name = %(name)s) AS tenants "
        "WHERE name = %(name)s AND tenant = %(tenant)s AND until IS NULL "
        "AND (failures >= %(failures)s OR tenants.number >= %(tenants)s)"
    )
    values = {
        "name": name,
        "tenant": tenant,
        "stage": error.stage,
        "cause": error.cause,
        "forgotten": _FORGOTTEN_AFTER,
        "pause": PAUSES[0],
        "failures": FAILURES,
        "tenants": TENANTS,
    }
    with database.connection() as connection, connection.transaction():
        connection.execute("SELECT set_config('search_path', %s, true)", (f"{SCHEMA}, pg_temp",))
        connection.execute(forget, values)
        connection.execute(count, values)
        return connection.execute(stop, values).rowcount == 1


def forget_old(database: FleetDatabase) -> None:
    """Delete the states of servers that nobody has tried for a day. Blocks."""
    query = f"DELETE FROM {SCHEMA}.servers WHERE failed_at < now() - make_interval(secs => %s)"
    with database.connection() as connection:
        connection.execute(query.encode(), (_REMOVED_AFTER,))


def _states(connection: Rows, condition: str, value: object) -> list[ServerState]:
    query = f"SELECT {_COLUMNS} FROM {SCHEMA}.servers WHERE {condition}"
    return [ServerState(**row) for row in connection.execute(query.encode(), (value,))]
