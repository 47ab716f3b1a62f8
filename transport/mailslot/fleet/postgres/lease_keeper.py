"""The thread that extends all leases of a process, as long as the process lives."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from psycopg import Error

if TYPE_CHECKING:
    from uuid import UUID

    from mailslot.fleet.postgres.database import DeviceId, FleetDatabase

DURATION: Final = 45.0
"""Seconds after which a lease ends unless its holder extends it."""

LEFT_FOR: Final = 30.0
"""Seconds for which a lease that was found to have ended is left to its holder: after an outage of the database, all
leases have ended although their holders are alive."""

_INTERVAL: Final = 15.0
"""Seconds between two extensions."""

_INTERVAL_AFTER_FAILURE: Final = 2.0

_MOVE: Final = (
    "UPDATE leases SET until = clock_timestamp() + make_interval(secs => %s), ended_at = NULL "
    "FROM unnest(%s::bigint[], %s::uuid[], %s::text[]) AS held (device, owner, name) "
    "WHERE leases.device = held.device AND leases.owner = held.owner AND leases.name = held.name "
    "RETURNING leases.owner, leases.name"
)


def now() -> float:
    """Return seconds of a clock that continues while the process or the whole machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class LeaseKeeper:
    """Extends the leases of many holders; its thread runs while there are any.

    Args:
        database: the database.
    """

    def __init__(self, database: FleetDatabase) -> None:
        self._database = database
        self._mutex = threading.Lock()
        self._held: dict[tuple[UUID, str], DeviceId] = {}
        self._kept_at: dict[tuple[UUID, str], float] = {}
        self._ended: threading.Event | None = None
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """Whether the process stops, so that waiting for leases should end."""
        return self._stopping

    def stop_waiting(self) -> None:
        """End all waiting for leases."""
        self._stopping = True

    def add(self, owner: UUID, name: str, device: DeviceId, taken_at: float) -> None:
        """Keep an owner's lease on a device; `taken_at` is a time of `now` before it was taken."""
        with self._mutex:
            self._held[owner, name] = device
            self._kept_at[owner, name] = taken_at
            if self._ended is None:
                self._ended = threading.Event()
                threading.Thread(target=self._keep, args=(self._ended,), name="leases", daemon=True).start()

    def remove(self, owner: UUID, name: str) -> None:
        """Stop extending a lease; if it cannot be released now, it will end."""
        with self._mutex:
            self._held.pop((owner, name), None)
            self._kept_at.pop((owner, name), None)
            if not self._held and self._ended is not None:
                self._ended.set()
                self._ended = None

    def is_kept(self, owner: UUID, name: str) -> bool:
        """Whether nobody can have taken over a lease, as far as is known without a query."""
        with self._mutex:
            kept_at = self._kept_at.get((owner, name))
        return kept_at is not None and now() - kept_at < DURATION

    def _keep(self, ended: threading.Event) -> None:
        interval = _INTERVAL
        while not ended.wait(interval):
            interval = _INTERVAL if self.move_on() else _INTERVAL_AFTER_FAILURE

    def move_on(self) -> bool:
        """Extend all leases, in a transaction for each tenant; return whether all succeeded."""
        good = True
        with self._mutex:
            held = [*self._held.items()]
        for tenant in {device.tenant for _, device in held}:
            found = [(device, owner, name) for (owner, name), device in held if device.tenant == tenant]
            devices, owners, names = zip(*found, strict=True)
            began = now()
            try:
                with self._database.device_transaction(devices[0], "beside") as connection:
                    numbers = [device.number for device in devices]
                    kept = connection.execute(_MOVE, (DURATION, numbers, [*owners], [*names])).fetchall()
            except Error:
                # They are extended at the next try, or end. Leases of other tenants are not affected.
                good = False
                continue
            with self._mutex:
                for each in kept:
                    if (key := (each["owner"], each["name"])) in self._held:
                        self._kept_at[key] = began
        return good
