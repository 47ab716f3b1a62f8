"""A worker's claim on a task: one transaction begins the work, and another one stores when it is due next.

The lease for the work is taken in the first one and released in the second.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
from anyio.to_thread import run_sync

from mailslot.fleet.postgres.database import DeviceGoneError
from mailslot.fleet.postgres.errors import as_os_error
from mailslot.fleet.postgres.storage import lease_of
from mailslot.fleet.postgres.tasks import TaskRows
from mailslot.spool.delivery_claims import DELIVERY_LOCK
from mailslot.spool.errors import busy_error
from mailslot.spool.ledger import polling_lock_name

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from mailslot.fleet.postgres.database import FleetDatabase
    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.fleet.postgres.tasks import Kind, TaskState

T = TypeVar("T")

SERVED_ELSEWHERE: Final = 300.0
"""Seconds for which a device is left to its own service."""

BUSY_PAUSE: Final = 20.0
"""Seconds until the next check whether another worker has finished or its lease has ended."""


class Claim:
    """A claim on a task of a device.

    Args:
        database: the database.
        home: the device.
        record: the record of the task.
        kind: its kind.

    Attributes:
        state: the state of the task that `begin` has found.
        is_held: whether the lease must still be released.
    """

    def __init__(self, database: FleetDatabase, home: PostgresHome, record: str, kind: Kind) -> None:
        self.home: Final = home
        self.record: Final = record
        self.kind: Final = kind
        self.state: TaskState = "gone"
        self._database = database
        self._lease = _lease_for(record, kind)
        self.is_held = False

    async def leave(self) -> None:
        """Schedule another check of the task soon, since another worker works on it.

        Raises:
            DatabaseError: the database cannot be used.
        """
        await run_sync(self._leave)

    def _leave(self) -> None:
        with as_os_error(), self._database.device_transaction(self.home.device, "beside") as connection:
            TaskRows(connection, self.home.device).leave(self.record, self.kind, BUSY_PAUSE)

    def begin(self) -> None:
        """Begin the work; then `state` shows whether there is any. Blocks.

        Raises:
            DatabaseError: the database cannot be used.
            SpoolError: `spool_busy`, another worker works on it.
        """
        leases, name = self.home.leases, self._lease
        if name is not None and not leases.reserve(name):
            self._leave()
            raise _busy_error(name)
        taken = False
        try:
            self.state, taken = self._begin()
        except DeviceGoneError:
            self.state = "gone"
        finally:
            if name is not None:
                if taken:
                    leases.hold(name)
                    leases.lend(name)
                    self.is_held = True
                else:
                    leases.cancel(name)
        if self.state == "due" and name is not None and not taken:
            raise _busy_error(name)

    def _begin(self) -> tuple[TaskState, bool]:
        device, taken = self.home.device, False
        with (
            as_os_error(),
            self._database.device_transaction(device, "beside" if self._lease is None else "write") as connection,
        ):
            rows = TaskRows(connection, device)
            state = rows.begin(self.record, self.kind)
            if state == "served":
                rows.leave(self.record, self.kind, SERVED_ELSEWHERE)
            elif state == "due":
                if self._lease is not None and not (taken := self.home.leases.insert(rows, self._lease)):
                    rows.leave(self.record, self.kind, BUSY_PAUSE)
                if self.home.kept is not None:
                    self.home.kept.read(rows)
        return state, taken

    async def settle(self, work: Callable[[TaskRows], T]) -> T:
        """Store the result of the work, and release the lease.

        Raises:
            DatabaseError: the database cannot be used.
            LeaseLostError: another worker has taken over the work; nothing was written.
        """
        return await run_sync(self._settle, work)

    def _settle(self, work: Callable[[TaskRows], T]) -> T:
        device = self.home.device
        with as_os_error(), self._database.device_transaction(device) as connection:
            rows = TaskRows(connection, device)
            result = work(rows)
            if self._lease is not None:
                self.home.leases.delete(rows, self._lease)
        if self._lease is not None:
            self.is_held = False
            self.home.leases.cancel(self._lease)
        return result

    def release(self) -> None:
        """Release the lease if the work was not settled. Blocks."""
        if self.is_held and self._lease is not None:
            self.is_held = False
            self.home.leases.release(self._lease)


@asynccontextmanager
async def claimed(database: FleetDatabase, home: PostgresHome, record: str, kind: Kind) -> AsyncGenerator[Claim]:
    """Claim a task while the block runs; there may be no work to do.

    Raises:
        DatabaseError: the database cannot be used.
        SpoolError: `spool_busy`, another worker works on it.
    """
    claim = Claim(database, home, record, kind)
    try:
        await run_sync(claim.begin)
        yield claim
    finally:
        if claim.is_held:
            with anyio.CancelScope(shield=True):
                await run_sync(claim.release)


def _lease_for(record: str, kind: Kind) -> str | None:
    if kind == "deliver":
        return lease_of(DELIVERY_LOCK)
    return lease_of(polling_lock_name(record)) if kind in {"poll", "handle"} else None


def _busy_error(name: str) -> Exception:
    return busy_error("Another worker is at it.", f"the lease {name}")
