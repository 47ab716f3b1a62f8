"""The lists of a fleet's devices for people: most urgent first, searched and paged by the database.

The state of a device is the worst of the states of its tokens, jobs and tasks. Only rows with problems are read for
that, by partial indexes, so the cost depends on their number rather than on that of all jobs. The health of tokens is
that found by the last worker that planned the device's tasks after a change of settings or secrets.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from mailslot.causes.cause import causes
from mailslot.fleet.postgres.due_scan import LATE_AFTER
from mailslot.fleet.postgres.key_registry import owner_transaction
from mailslot.fleet.postgres.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from mailslot.fleet.postgres.database import FleetDatabase, Rows

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
"""The states, most urgent first: an administrator must act; a token must be obtained; jobs are held until somebody
acts; polls or renewals are refused until somebody acts; they fail, but may work again without anybody; a task has been
due for more than a minute; a token expires unless somebody acts; jobs have failed in the last seven days; nothing is
set up; nothing is wrong."""

STATES: Final[tuple[DeviceState, ...]] = get_args(DeviceState)

NEEDS_SOMEBODY: Final[tuple[DeviceState, ...]] = ("needs_administrator", "needs_token", "held", "refused")
"""The states that do not end without somebody acting."""

PAGE: Final = 50
"""Rows on a page of the panel."""

MAX_SEARCH: Final = 200
"""Characters of a search."""

_MAX_PAGE: Final = 1_000_000
_RECENT: Final = 7 * 86_400.0
"""Seconds for which a failed job counts, as on the device's own home page."""
_TIMEOUT: Final = "20s"

# The application's own token is missing until a renewal has succeeded; the renewal's cause is more precise.
_FOUND: Final = """WITH wanted AS (
    SELECT id, name FROM tenants WHERE (%(tenants)s::text[] IS NULL OR name = ANY(%(tenants)s))
    AND (%(tenant)s::text IS NULL OR name = %(tenant)s)
), issues AS (
    SELECT health.tenant, health.device, CASE health.state WHEN 'unreadable' THEN 'needs_administrator'
        ELSE health.state END AS state, health.record, coalesce(renewals.cause, health.cause) AS cause, since,
        NULL::bigint AS jobs
        FROM record_health AS health LEFT JOIN tasks AS renewals ON renewals.device = health.device
        AND renewals.record = health.record AND renewals.kind = 'renew' WHERE health.state <> 'ok'
    UNION ALL
    SELECT tenant, device, CASE state WHEN 'failed' THEN 'failed' ELSE 'held' END, via, min(cause),
        to_timestamp(min(changed_at)), count(*)
        FROM jobs WHERE state IN ('held', 'in_doubt', 'failed') AND NOT delivering
        AND (state <> 'failed' OR changed_at > extract(epoch FROM now()) - %(recent)s) GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT tenant, device, CASE WHEN cause = ANY(%(people)s) THEN 'refused' ELSE 'failing' END, record, cause, NULL,
        NULL FROM tasks WHERE failures > 0
    UNION ALL
    SELECT tenant, device, 'late', record, NULL, due_at, NULL FROM tasks
        WHERE due_at <= now() - make_interval(secs => %(late)s) AND NOT EXISTS (SELECT FROM leases
        WHERE leases.device = tasks.device AND leases.name = 'service' AND until > now())
), worst AS (
    SELECT DISTINCT ON (device) device, state, record, cause, extract(epoch FROM since)::double precision AS since,
        sum(jobs) FILTER (WHERE state = 'held') OVER of_device AS held,
        sum(jobs) FILTER (WHERE state = 'failed') OVER of_device AS failed
    FROM issues WHERE tenant IN (SELECT id FROM wanted) WINDOW of_device AS (PARTITION BY device)
    ORDER BY device, array_position(%(states)s::text[], state), issues.since, record
), found AS MATERIALIZED (
    SELECT wanted.name AS tenant, devices.name AS device, coalesce(descriptions.name, '') AS name,
        coalesce(descriptions.location, '') AS location, coalesce(descriptions.accounts, '') AS accounts,
        coalesce(worst.state, CASE WHEN descriptions.is_set_up THEN 'ok' ELSE 'not_set_up' END) AS state,
        worst.record, worst.cause, worst.since, coalesce(worst.held, 0)::integer AS held,
        coalesce(worst.failed, 0)::integer AS failed
    FROM devices JOIN wanted ON wanted.id = devices.tenant
    LEFT JOIN descriptions ON descriptions.device = devices.id LEFT JOIN worst ON worst.device = devices.id
    WHERE (%(cause)s::text IS NULL OR worst.cause = %(cause)s)
        AND NOT EXISTS (SELECT FROM unnest(%(words)s::text[]) AS word WHERE
        strpos(wanted.name || '/' || devices.name || ' ' || coalesce(descriptions.words, ''), word) = 0)
)"""

_DEVICES: Final = f"""{_FOUND} SELECT page.*, counts.numbers FROM (
    SELECT json_object_agg(state, number) AS numbers
    FROM (SELECT state, count(*) AS number FROM found GROUP BY state) AS each
) AS counts LEFT JOIN (
    SELECT *, array_position(%(states)s::text[], state) AS rank FROM found
    WHERE %(only)s::text[] IS NULL OR state = ANY(%(only)s)
    ORDER BY rank, since, tenant, device LIMIT %(limit)s OFFSET %(offset)s
) AS page ON true ORDER BY page.rank, page.since, page.tenant, page.device"""

_TENANTS: Final = f"""{_FOUND} SELECT tenant, json_object_agg(state, number) AS numbers, count(*) OVER () AS total
    FROM (SELECT tenant, state, count(*) AS number FROM found GROUP BY tenant, state) AS each GROUP BY tenant
    ORDER BY coalesce(sum(number) FILTER (WHERE state = ANY(%(urgent)s)), 0) DESC,
    coalesce(sum(number) FILTER (WHERE state NOT IN ('not_set_up', 'ok')), 0) DESC, tenant
    LIMIT %(limit)s OFFSET %(offset)s"""


@dataclass(frozen=True, slots=True)
class DeviceSearch:
    """A search for devices or tenants.

    Attributes:
        tenants: the tenants that may be shown; None for all.
        tenant: the tenant to search; empty for all.
        search: words that must all occur in the names of tenant and device, its location or its accounts.
        states: the states to show; None for all.
        cause: the cause of the states to show; None for all.
        page: the number of the page, from 1.
        size: the number of rows on a page; None for all.
    """

    tenants: Collection[str] | None = None
    tenant: str = ""
    search: str = ""
    states: Collection[DeviceState] | None = None
    cause: str | None = None
    page: int = 1
    size: int | None = PAGE


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """A device in the list.

    Attributes:
        tenant: the name of its tenant.
        device: its name in the fleet.
        name: the name that people use for it; may be empty.
        location: its location; may be empty.
        accounts: its mailboxes and sender addresses, separated by commas.
        state: its worst state.
        record: the record with this state; empty for the whole device, None if nothing is wrong.
        cause: the id of its cause; None if there is none, or if it is unknown.
        since: the beginning of the state, in seconds since 1970; None if unknown.
        held: the number of held jobs.
        failed: the number of recently failed jobs.
    """

    tenant: str
    device: str
    name: str
    location: str
    accounts: str
    state: DeviceState
    record: str | None
    cause: str | None
    since: float | None
    held: int
    failed: int

    @property
    def jobs(self) -> int | None:
        """The number of jobs with the state; None if it is not a state of jobs."""
        return {"held": self.held, "failed": self.failed}.get(self.state)


@dataclass(frozen=True, slots=True)
class DevicePage:
    """A page of the list of devices.

    Attributes:
        devices: the devices, the most urgent first.
        counts: the number of devices in each state, over all pages and states.
        page: the number of the page.
        pages: how many pages there are; at least 1.
    """

    devices: tuple[ListedDevice, ...]
    counts: Counter[DeviceState]
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class ListedTenant:
    """A tenant in the list.

    Attributes:
        name: its name.
        counts: the number of its devices in each state.
    """

    name: str
    counts: Counter[DeviceState]


@dataclass(frozen=True, slots=True)
class TenantPage:
    """A page of the list of tenants, those whose devices need attention first.

    Attributes:
        tenants: the tenants.
        page: the number of the page.
        pages: how many pages there are; at least 1.
    """

    tenants: tuple[ListedTenant, ...]
    page: int
    pages: int


class FleetDirectory:
    """The lists. Every method blocks, and raises `InputError` if the database cannot be used.

    Args:
        database: the database, whose user owns its tables.
    """

    def __init__(self, database: FleetDatabase) -> None:
        self._database = database
        self._registry = Registry(database)

    def devices(self, wanted: DeviceSearch) -> DevicePage:
        """Return a page of devices."""
        with self._reading() as connection:
            rows = connection.execute(_DEVICES.encode(), _parameters(wanted)).fetchall()
        counts = Counter[DeviceState](rows[0]["numbers"])
        total = sum(counts[state] for state in wanted.states or STATES)
        names = ListedDevice.__dataclass_fields__
        devices = tuple(ListedDevice(**{name: row[name] for name in names}) for row in rows if row["device"])
        return DevicePage(devices, counts, _page(wanted), _pages(wanted, total))

    def tenants(self, wanted: DeviceSearch) -> TenantPage:
        """Return a page of tenants that have a matching device."""
        with self._reading() as connection:
            rows = connection.execute(_TENANTS.encode(), _parameters(wanted)).fetchall()
        found = tuple(ListedTenant(row["tenant"], Counter(row["numbers"])) for row in rows)
        return TenantPage(found, _page(wanted), _pages(wanted, rows[0]["total"] if rows else 0))

    def has_workers(self) -> bool:
        """Return whether a worker has looked for due tasks within the last minute."""
        return self._registry.workers_seen_at() is not None

    @contextmanager
    def _reading(self) -> Generator[Rows]:
        with owner_transaction(self._database) as connection:
            connection.execute("SELECT set_config('statement_timeout', %s, true)", (_TIMEOUT,))
            yield connection


def _parameters(wanted: DeviceSearch) -> dict[str, Any]:
    return {
        "tenants": None if wanted.tenants is None else sorted(wanted.tenants),
        "tenant": wanted.tenant.replace("\0", " ") or None,
        "words": wanted.search[:MAX_SEARCH].replace("\0", " ").casefold().split(),
        "only": None if wanted.states is None else [*wanted.states],
        "cause": wanted.cause,
        "states": [*STATES],
        "urgent": [*NEEDS_SOMEBODY],
        "people": [name for name, each in causes().items() if each.actor in {"operator", "administrator"}],
        "recent": _RECENT,
        "late": LATE_AFTER,
        "limit": wanted.size,
        "offset": (_page(wanted) - 1) * (wanted.size or 0),
    }


def _page(wanted: DeviceSearch) -> int:
    return min(max(wanted.page, 1), _MAX_PAGE)


def _pages(wanted: DeviceSearch, total: int) -> int:
    return 1 if wanted.size is None else max(1, -(-total // wanted.size))
