"""The devices of a fleet by their state: what needs somebody first.

All of it is asked in one query, of tables that are small or have an index for it. The health of tokens is what the
worker has seen that planned for the device after its last change of settings or secrets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from mailslot.causes.cause import causes
from mailslot.fleet.postgres.due_scan import LATE_AFTER
from mailslot.fleet.postgres.key_registry import owner_transaction

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailslot.fleet.postgres.database import FleetDatabase

DeviceState = Literal[
    "needs_administrator",
    "needs_token",
    "held",
    "refused",
    "failing",
    "late",
    "expiring",
    "failed",
    "not_set_up",
    "ok",
]
"""In the order in which somebody is needed: an administrator must act; a token must be obtained; jobs wait for
somebody; polls or renewals are refused until somebody acts; they fail, and may work again without anybody; something
has been due for more than a minute; a token expires unless something is done; jobs have failed in the last day; nothing
is set up; nothing is wrong."""

STATES: Final[tuple[DeviceState, ...]] = get_args(DeviceState)

NEEDS_SOMEBODY: Final[frozenset[DeviceState]] = frozenset({"needs_administrator", "needs_token", "held", "refused"})
"""The states that no waiting ends."""

_PEOPLE: Final = frozenset({"operator", "administrator"})

# A token that the application gets for itself is missing until a renewal has worked, whose cause says more.
_STATES: Final = """
    issues AS (
        SELECT health.device, CASE health.state WHEN 'unreadable' THEN 'needs_administrator' ELSE health.state END
            AS state, health.record, coalesce(renewals.cause, health.cause) AS cause, since, NULL::bigint AS jobs
        FROM record_health AS health LEFT JOIN tasks AS renewals ON renewals.device = health.device
            AND renewals.record = health.record AND renewals.kind = 'renew' WHERE health.state <> 'ok'
        UNION ALL
        SELECT device, 'held', via, min(cause), to_timestamp(min(changed_at)), count(*) FROM jobs
            WHERE state IN ('held', 'in_doubt') GROUP BY device, via
        UNION ALL
        SELECT device, CASE WHEN cause = ANY(%(people)s) THEN 'refused' ELSE 'failing' END, record, cause, NULL, NULL
            FROM tasks WHERE failures > 0
        UNION ALL
        SELECT device, 'late', record, NULL, due_at, NULL FROM tasks
            WHERE due_at <= now() - make_interval(secs => %(late)s) AND NOT EXISTS (SELECT FROM leases
                WHERE leases.device = tasks.device AND leases.name = 'service' AND until > clock_timestamp())
        UNION ALL
        SELECT device, 'failed', via, min(cause), to_timestamp(min(changed_at)), count(*) FROM jobs
            WHERE state = 'failed' AND changed_at > extract(epoch FROM now() - interval '1 day') GROUP BY device, via
    ), worst AS (
        SELECT DISTINCT ON (device) issues.*, array_position(%(states)s::text[], state) AS rank
        FROM issues ORDER BY device, array_position(%(states)s::text[], state), since NULLS LAST, record
    ), of_devices AS (
        SELECT tenants.name AS tenant, devices.name AS device, coalesce(worst.state, CASE WHEN EXISTS (SELECT
            FROM record_health WHERE record_health.device = devices.id) THEN 'ok' ELSE 'not_set_up' END) AS state,
            worst.record, worst.cause, extract(epoch FROM worst.since)::double precision AS since, worst.jobs
        FROM devices JOIN tenants ON tenants.id = devices.tenant LEFT JOIN worst ON worst.device = devices.id
        WHERE %(tenant)s::text IS NULL OR tenants.name = %(tenant)s
    )
"""

_LIST: Final = f"""
    WITH {_STATES} SELECT * FROM of_devices
    WHERE (%(wanted)s::text[] IS NULL OR state = ANY(%(wanted)s)) AND (%(cause)s::text IS NULL OR cause = %(cause)s)
        AND (%(search)s::text IS NULL OR strpos(tenant || '/' || device, %(search)s) > 0)
    ORDER BY array_position(%(states)s::text[], state), since NULLS LAST, tenant, device LIMIT %(limit)s
"""

_COUNT: Final = f"WITH {_STATES} SELECT tenant, state, count(*) AS number FROM of_devices GROUP BY tenant, state"


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """The state of a device.

    Attributes:
        tenant: the name of its tenant.
        device: its name.
        state: what is worst.
        record: the record that it is about; empty for the whole device, None if nothing is wrong.
        cause: the id of its cause; None if there is none, or it is unknown.
        since: since when, in seconds since 1970; None if unknown.
        jobs: how many jobs it is about; None if it is not about jobs.
    """

    tenant: str
    device: str
    state: DeviceState
    record: str | None
    cause: str | None
    since: float | None
    jobs: int | None


def device_health(
    database: FleetDatabase,
    *,
    tenant: str | None = None,
    states: Collection[DeviceState] | None = None,
    cause: str | None = None,
    search: str | None = None,
    limit: int | None = None,
) -> list[DeviceHealth]:
    """Return devices by state, as the owner of the tables. It blocks.

    Args:
        database: the database.
        tenant: only the devices of this tenant.
        states: only devices in these states.
        cause: only devices whose state has this cause.
        search: only devices whose name as TENANT/DEVICE contains this.
        limit: at most so many, the worst first.

    Raises:
        InputError: the database cannot be used.
    """
    values = {
        **_values(tenant),
        "wanted": None if states is None else [*states],
        "cause": cause,
        "search": search,
        "limit": limit,
    }
    with owner_transaction(database) as connection:
        found = connection.execute(_LIST.encode(), values).fetchall()
    return [DeviceHealth(**row) for row in found]


def state_counts(database: FleetDatabase) -> dict[str, dict[str, int]]:
    """Return how many devices of each tenant are in each state. It blocks.

    Raises:
        InputError: the database cannot be used.
    """
    counts: dict[str, dict[str, int]] = {}
    with owner_transaction(database) as connection:
        for row in connection.execute(_COUNT.encode(), _values(None)):
            counts.setdefault(row["tenant"], {})[row["state"]] = row["number"]
    return counts


def _values(tenant: str | None) -> dict[str, object]:
    people = [name for name, cause in causes().items() if cause.actor in _PEOPLE]
    return {"tenant": tenant, "states": [*STATES], "people": people, "late": LATE_AFTER}
