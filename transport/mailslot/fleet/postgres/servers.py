"""What is known of servers that could not be reached, for all workers; as the owner of the tables.

A row has the failures of one tenant's devices in a row, since the server last answered anybody. With `until`, nobody of
the tenant is to try it before that time, and then one at a time. A row that is `for_all` says so to every tenant: it
takes failures of several, so that no tenant's settings stop a server for the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.fleet.postgres.schema import SCHEMA

if TYPE_CHECKING:
    from mailslot.errors import MailError, Stage
    from mailslot.fleet.postgres.database import FleetDatabase, Rows

FAILURES: Final = 5
"""After how many failures in a row a tenant's devices leave a server alone for a while."""

TENANTS: Final = 3
"""After the failures of how many tenants in a row all devices do."""

PAUSES: Final = (15.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds of the first pause, the second and so on."""

PROBE: Final = 60.0
"""Seconds after which another attempt is let through if nothing is heard of the one that was."""

_FORGOTTEN_AFTER: Final = 600.0
"""Seconds after which failures that were too few to stop anybody do not count any more."""

_REMOVED_AFTER: Final = 86_400.0
"""Seconds after which a server that nobody tries any more is forgotten."""

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
        failures: how often it could not be reached since it last answered.
        openings: how many pauses there were since then, with the present one.
        stage: where the last attempt failed.
        cause: the cause of that.
        for_all: whether the pause is for the devices of all tenants.
        since: when the first attempt failed, in seconds since 1970.
        remaining: seconds until it may be tried again; None if it may be tried by all.
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
    """Return what is known of a server; nothing if it answered when it was last tried. Blocks."""
    with database.connection() as connection:
        return _states(connection, "name = %s", name)


def stopped(connection: Rows, most: int) -> list[ServerState]:
    """Return servers that are not tried now, those first that have not been reached for longest."""
    return _states(connection, "until IS NOT NULL ORDER BY since, name LIMIT %s", most)


def claim_probe(database: FleetDatabase, state: ServerState) -> bool:
    """Claim the one attempt after a pause; return whether nobody else was quicker. Blocks."""
    query = (
        f"UPDATE {SCHEMA}.servers SET until = clock_timestamp() + make_interval(secs => %s) "
        "WHERE name = %s AND tenant = %s AND until <= clock_timestamp()"
    )
    with database.connection() as connection:
        return connection.execute(query.encode(), (PROBE, state.name, state.tenant)).rowcount == 1


def note_answer(database: FleetDatabase, name: str) -> None:
    """Note that a server has answered. Blocks."""
    with database.connection() as connection:
        connection.execute(f"DELETE FROM {SCHEMA}.servers WHERE name = %s".encode(), (name,))


def note_failed_probe(database: FleetDatabase, state: ServerState, error: MailError) -> None:
    """Note that the attempt after a pause has failed, too. Blocks."""
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
    """Note that a server could not be reached; return whether it is left alone from now on. Blocks."""
    forget = (
        "DELETE FROM servers WHERE name = %(name)s AND until IS NULL "
        "AND failed_at < now() - make_interval(secs => %(forgotten)s)"
    )
    # What began before the pause, and fails in it, says nothing new.
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
    """Forget servers that nobody has tried for a day. Blocks."""
    query = f"DELETE FROM {SCHEMA}.servers WHERE failed_at < now() - make_interval(secs => %s)"
    with database.connection() as connection:
        connection.execute(query.encode(), (_REMOVED_AFTER,))


def _states(connection: Rows, condition: str, value: object) -> list[ServerState]:
    query = f"SELECT {_COLUMNS} FROM {SCHEMA}.servers WHERE {condition}"
    return [ServerState(**row) for row in connection.execute(query.encode(), (value,))]
