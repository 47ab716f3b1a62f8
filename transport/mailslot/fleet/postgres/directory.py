"""The devices of a fleet for people: what needs somebody first, searched and paged by the database.

A device is ranked by the worst of what its tasks, tokens and jobs say. Only rows about something that is wrong are
read for that, by indices of their own, so their number counts and not that of all jobs.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from mailslot.causes.cause import causes
from mailslot.fleet.postgres.key_registry import owner_transaction
from mailslot.fleet.postgres.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping

    from mailslot.fleet.postgres.database import FleetDatabase, Rows

DeviceState = Literal["attention", "failing", "new", "well"]
"""Attention: somebody must act. Failing: the last attempt has failed, and is repeated, or a job has failed lately.
New: it was never set up. Well: nothing is wrong."""

STATES: Final[tuple[DeviceState, ...]] = ("attention", "failing", "new", "well")
"""All states, the most urgent first."""

PAGE: Final = 50
"""Rows on a page."""

MAX_SEARCH: Final = 200
"""Characters of a search."""

_MAX_PAGE: Final = 1_000_000
_RANKS: Final[Mapping[int, DeviceState]] = {3: "attention", 2: "failing", 1: "new", 0: "well"}
_STATE_RANKS: Final = {state: rank for rank, state in _RANKS.items()}
_RECENT: Final = 7 * 86_400.0
"""Seconds for which a failed job counts, as on the device's own first page."""
_TIMEOUT: Final = "20s"

_FOUND: Final = """WITH wanted AS (
    SELECT id, name FROM tenants WHERE (%(tenants)s::text[] IS NULL OR name = ANY(%(tenants)s))
    AND (%(tenant)s::text IS NULL OR name = %(tenant)s)
), problems AS (
    SELECT device, max(rank) AS rank, sum(held)::integer AS held, sum(failed)::integer AS failed,
        (array_agg(cause ORDER BY rank DESC, cause) FILTER (WHERE cause IS NOT NULL))[1] AS cause,
        (array_agg(record ORDER BY rank DESC, cause) FILTER (WHERE cause IS NOT NULL))[1] AS record
    FROM (
        SELECT tenant, device, record, cause, CASE WHEN cause = ANY(%(urgent)s) THEN 3 ELSE 2 END AS rank,
            0 AS held, 0 AS failed FROM tasks WHERE failures > 0
        UNION ALL
        SELECT tenant, device, record, cause, CASE WHEN state = 'expiring' THEN 2 ELSE 3 END, 0, 0
            FROM record_health WHERE state <> 'ok'
        UNION ALL
        SELECT tenant, device, via, cause, CASE WHEN state = 'failed' THEN 2 ELSE 3 END,
            (state <> 'failed')::integer, (state = 'failed')::integer
            FROM jobs WHERE state IN ('held', 'in_doubt', 'failed') AND NOT delivering
            AND (state <> 'failed' OR changed_at > %(recent)s)
    ) AS problem WHERE tenant IN (SELECT id FROM wanted) GROUP BY device
), found AS MATERIALIZED (
    SELECT wanted.name AS tenant, devices.name AS device, coalesce(descriptions.name, '') AS name,
        coalesce(descriptions.location, '') AS location, coalesce(descriptions.accounts, '') AS accounts,
        coalesce(problems.rank, CASE WHEN descriptions.is_set_up THEN 0 ELSE 1 END) AS rank,
        coalesce(problems.held, 0) AS held, coalesce(problems.failed, 0) AS failed, problems.cause, problems.record
    FROM devices JOIN wanted ON wanted.id = devices.tenant
    LEFT JOIN descriptions ON descriptions.device = devices.id
    LEFT JOIN problems ON problems.device = devices.id
    WHERE NOT EXISTS (SELECT FROM unnest(%(words)s::text[]) AS word WHERE
        strpos(wanted.name || '/' || devices.name || ' ' || coalesce(descriptions.words, ''), word) = 0)
)"""

_DEVICES: Final = f"""{_FOUND} SELECT page.*, counts.numbers FROM (
    SELECT json_object_agg(rank, number) AS numbers
    FROM (SELECT rank, count(*) AS number FROM found GROUP BY rank) AS each
) AS counts LEFT JOIN (
    SELECT * FROM found WHERE %(rank)s::integer IS NULL OR rank = %(rank)s
    ORDER BY rank DESC, tenant, device LIMIT %(limit)s OFFSET %(offset)s
) AS page ON true ORDER BY page.rank DESC, page.tenant, page.device"""

_TENANTS: Final = f"""{_FOUND} SELECT tenant, count(*) AS devices, count(*) FILTER (WHERE rank = 3) AS attention,
    count(*) FILTER (WHERE rank = 2) AS failing, count(*) FILTER (WHERE rank = 1) AS new,
    count(*) FILTER (WHERE rank = 0) AS well, count(*) OVER () AS total
    FROM found GROUP BY tenant ORDER BY attention DESC, failing DESC, tenant LIMIT %(limit)s OFFSET %(offset)s"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which devices or tenants are wanted.

    Attributes:
        tenants: the only tenants that may be found; None for all.
        tenant: the only tenant that is asked for; empty for each of them.
        search: words that must all occur in the names of tenant and device, its location or its accounts.
        state: the only state; None for all.
        page: the number of the page, from 1.
    """

    tenants: Collection[str] | None = None
    tenant: str = ""
    search: str = ""
    state: DeviceState | None = None
    page: int = 1


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """A device in the list.

    Attributes:
        tenant: the name of its tenant.
        device: its name in the fleet.
        name: the name that people use for it; may be empty.
        location: where it stands; may be empty.
        accounts: its mailboxes and sender addresses, separated by commas.
        state: its state.
        cause: the cause of the worst that is wrong; None if there is none, or if it is unknown.
        record: the record that this concerns; None without a cause.
        held: the number of jobs that wait for somebody.
        failed: the number of jobs that have failed lately.
    """

    tenant: str
    device: str
    name: str
    location: str
    accounts: str
    state: DeviceState
    cause: str | None
    record: str | None
    held: int
    failed: int


@dataclass(frozen=True, slots=True)
class DevicePage:
    """A page of the list of devices.

    Attributes:
        devices: the devices, the most urgent first.
        counts: how many devices there are in each state, on all pages and in all states.
        page: the number of the page.
        pages: how many pages there are; at least 1.
    """

    devices: tuple[ListedDevice, ...]
    counts: Mapping[DeviceState, int]
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class ListedTenant:
    """A tenant in the list.

    Attributes:
        name: its name.
        devices: how many devices it has.
        counts: how many of them are in each state.
    """

    name: str
    devices: int
    counts: Mapping[DeviceState, int] = field(default_factory=dict[DeviceState, int])


@dataclass(frozen=True, slots=True)
class TenantPage:
    """A page of the list of tenants: those whose devices need somebody first.

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
        now: the time, in seconds since 1970.
    """

    def __init__(self, database: FleetDatabase, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._registry = Registry(database)
        self._now = now

    def devices(self, wanted: Wanted) -> DevicePage:
        """Return a page of devices."""
        rank = None if wanted.state is None else _STATE_RANKS[wanted.state]
        with self._reading() as connection:
            rows = connection.execute(_DEVICES.encode(), {**self._parameters(wanted), "rank": rank}).fetchall()
        numbers = cast("dict[str, int]", rows[0]["numbers"] or {})
        counts: dict[DeviceState, int] = {state: numbers.get(str(rank), 0) for rank, state in _RANKS.items()}
        total = sum(counts.values()) if wanted.state is None else counts[wanted.state]
        return DevicePage(
            tuple(_device(row) for row in rows if row["device"] is not None), counts, _page(wanted), _pages(total)
        )

    def tenants(self, wanted: Wanted) -> TenantPage:
        """Return a page of tenants; of those that have no device that was asked for, none is returned."""
        with self._reading() as connection:
            rows = connection.execute(_TENANTS.encode(), self._parameters(wanted)).fetchall()
        found = tuple(_tenant(row) for row in rows)
        return TenantPage(found, _page(wanted), _pages(rows[0]["total"] if rows else 0))

    def has_workers(self) -> bool:
        """Return whether a worker has looked for due tasks within the last minute."""
        return self._registry.workers_seen_at() is not None

    def _parameters(self, wanted: Wanted) -> dict[str, Any]:
        return {
            "tenants": None if wanted.tenants is None else sorted(wanted.tenants),
            "tenant": wanted.tenant or None,
            "words": wanted.search[:MAX_SEARCH].replace("\0", " ").casefold().split(),
            "urgent": [name for name, each in causes().items() if each.actor in {"operator", "administrator"}],
            "recent": self._now() - _RECENT,
            "limit": PAGE,
            "offset": (_page(wanted) - 1) * PAGE,
        }

    @contextmanager
    def _reading(self) -> Generator[Rows]:
        with owner_transaction(self._database) as connection:
            connection.execute("SELECT set_config('statement_timeout', %s, true)", (_TIMEOUT,))
            yield connection


def _device(row: Mapping[str, Any]) -> ListedDevice:
    return ListedDevice(
        row["tenant"],
        row["device"],
        row["name"],
        row["location"],
        row["accounts"],
        _RANKS[row["rank"]],
        row["cause"],
        row["record"] or None,
        row["held"],
        row["failed"],
    )


def _tenant(row: Mapping[str, Any]) -> ListedTenant:
    counts: dict[DeviceState, int] = {each: row[each] for each in STATES}
    return ListedTenant(row["tenant"], row["devices"], counts)


def _page(wanted: Wanted) -> int:
    return min(max(wanted.page, 1), _MAX_PAGE)


def _pages(total: int) -> int:
    return max(1, -(-total // PAGE))
