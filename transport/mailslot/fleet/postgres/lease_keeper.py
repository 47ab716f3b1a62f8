"""The thread that moves the ends of all leases of a process on, as long as the process lives."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from psycopg import Error
from psycopg_pool import PoolTimeout

if TYPE_CHECKING:
    from uuid import UUID

    from mailslot.fleet.postgres.database import DeviceId, FleetDatabase

DURATION: Final = 60.0
"""Seconds after which a lease ends unless its holder moves its end on."""

_INTERVAL: Final = 15.0
"""Seconds between two moves."""

_MOVE: Final = (
    "UPDATE leases SET until = clock_timestamp() + make_interval(secs => %s) WHERE device = ANY(%s) AND owner = ANY(%s)"
)


class LeaseKeeper:
    """Keeps the leases of many holders; its thread runs while there are any.

    Args:
        database: the database.
    """

    def __init__(self, database: FleetDatabase) -> None:
        self._database = database
        self._mutex = threading.Lock()
        self._holders: dict[UUID, DeviceId] = {}
        self._ended: threading.Event | None = None

    def add(self, owner: UUID, device: DeviceId) -> None:
        """Keep all leases of an owner, which are on one device."""
        with self._mutex:
            self._holders[owner] = device
            if self._ended is None:
                self._ended = threading.Event()
                threading.Thread(target=self._keep, args=(self._ended,), name="leases", daemon=True).start()

    def remove(self, owner: UUID) -> None:
        """Keep no lease of an owner any more."""
        with self._mutex:
            self._holders.pop(owner, None)
            if not self._holders and self._ended is not None:
                self._ended.set()
                self._ended = None

    def _keep(self, ended: threading.Event) -> None:
        while not ended.wait(_INTERVAL):
            self.move_on()

    def move_on(self) -> None:
        """Move the ends of all leases on, in a transaction for each tenant."""
        with self._mutex:
            holders = [*self._holders.items()]
        for tenant in {device.tenant for _, device in holders}:
            found = [(owner, device) for owner, device in holders if device.tenant == tenant]
            owners, devices = zip(*found, strict=True)
            try:
                with self._database.device_transaction(devices[0], "beside") as connection:
                    connection.execute(_MOVE, (DURATION, [device.number for device in devices], [*owners]))
            except (Error, PoolTimeout):
                # They are moved on at the next try, or end.
                return
