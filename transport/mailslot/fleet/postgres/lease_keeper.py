"""The thread that moves the ends of all leases of a process on, as long as the process lives."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from psycopg import Error

if TYPE_CHECKING:
    from uuid import UUID

    from mailslot.fleet.postgres.database import DeviceId, FleetDatabase

DURATION: Final = 45.0
"""Seconds after which a lease ends unless its holder moves its end on."""

LEFT_FOR: Final = 30.0
"""Seconds for which a lease that was found to have ended is left to its holder. If the database was gone for a while,
all leases have ended when it comes back, and their holders are alive."""

_INTERVAL: Final = 15.0
"""Seconds between two moves."""

_INTERVAL_AFTER_FAILURE: Final = 2.0

_MOVE: Final = (
    "UPDATE leases SET until = clock_timestamp() + make_interval(secs => %s), ended_at = NULL "
    "FROM unnest(%s::bigint[], %s::uuid[], %s::text[]) AS held (device, owner, name) "
    "WHERE leases.device = held.device AND leases.owner = held.owner AND leases.name = held.name "
    "RETURNING leases.owner, leases.name"
)


def now() -> float:
    """Return the seconds of a clock that goes on while the process, or the whole machine, stands still."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class LeaseKeeper:
    """Keeps the leases of many holders; its thread runs while there are any.

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
        """Whether the process stops, so that nobody should wait for a lease any more."""
        return self._stopping

    def stop_waiting(self) -> None:
        """Let nobody wait for a lease any more."""
        self._stopping = True

    def add(self, owner: UUID, name: str, device: DeviceId, taken_at: float) -> None:
        """Keep a lease of an owner on a device; `taken_at` is a time of `now` before it was taken."""
        with self._mutex:
            self._held[owner, name] = device
            self._kept_at[owner, name] = taken_at
            if self._ended is None:
                self._ended = threading.Event()
                threading.Thread(target=self._keep, args=(self._ended,), name="leases", daemon=True).start()

    def remove(self, owner: UUID, name: str) -> None:
        """Keep a lease no more, also if it cannot be released now: then it ends."""
        with self._mutex:
            self._held.pop((owner, name), None)
            self._kept_at.pop((owner, name), None)
            if not self._held and self._ended is not None:
                self._ended.set()
                self._ended = None

    def is_kept(self, owner: UUID, name: str) -> bool:
        """Whether nobody can have taken a lease, as far as is known without asking the database."""
        with self._mutex:
            kept_at = self._kept_at.get((owner, name))
        return kept_at is not None and now() - kept_at < DURATION

    def _keep(self, ended: threading.Event) -> None:
        interval = _INTERVAL
        while not ended.wait(interval):
            interval = _INTERVAL if self.move_on() else _INTERVAL_AFTER_FAILURE

    def move_on(self) -> bool:
        """Move the ends of all leases on, in a transaction for each tenant; return whether all went well."""
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
                # They are moved on at the next try, or end. Those of other tenants are none the worse.
                good = False
                continue
            with self._mutex:
                for each in kept:
                    if (key := (each["owner"], each["name"])) in self._held:
                        self._kept_at[key] = began
        return good
