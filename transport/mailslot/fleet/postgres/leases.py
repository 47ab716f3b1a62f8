"""Leases: locks in the database, over all processes on all machines.

A lease has an owner and an end, by the database's clock. Its holder's process extends it as long as it lives. If the
process dies, or cannot reach the database, another process finds that the lease has ended, and half a minute later it
can be taken over. So after an outage of the database, all holders keep their leases. Each write transaction of a device
checks the leases of its process there (`HeldLeases.check`), and a lease is taken under the same lock as these
transactions. So a process that has lost a lease without knowing can no longer write.
"""

from __future__ import annotations

import errno
import threading
import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.fleet.postgres.database import CommitInDoubtError, DeviceGoneError
from mailslot.fleet.postgres.errors import DatabaseError, as_os_error
from mailslot.fleet.postgres.lease_keeper import DURATION, LEFT_FOR, LeaseKeeper, now
from mailslot.fleet.postgres.rows import DeviceRows
from mailslot.vault.errors import LostHomeError, VaultError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from mailslot.fleet.postgres.database import DeviceId, FleetDatabase, Rows

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0

# A row with this owner was left if its release failed, or the answer to its commit was lost.
_TAKE: Final = (
    "INSERT INTO leases (tenant, device, name, owner, until) VALUES (%(tenant)s, %(device)s, %(name)s, "
    "%(owner)s, clock_timestamp() + make_interval(secs => %(seconds)s)) "
    "ON CONFLICT (device, name) DO UPDATE SET owner = excluded.owner, until = excluded.until, ended_at = NULL "
    "WHERE leases.owner = excluded.owner OR leases.ended_at <= clock_timestamp() - make_interval(secs => %(left)s)"
)
_GIVE_BACK: Final = "DELETE FROM leases WHERE device = %(device)s AND name = %(name)s AND owner = %(owner)s"
_NOTE_END: Final = (
    "UPDATE leases SET ended_at = clock_timestamp() WHERE device = %(device)s AND name = %(name)s "
    "AND until <= clock_timestamp() AND ended_at IS NULL"
)


class LeaseLostError(Exception):
    """This process has lost a lease without knowing; nothing was written."""


class HeldLeases:
    """The leases that this process holds on one device.

    Args:
        database: the database.
        device: the device.
        keeper: the lease keeper of several devices; None to create one.
    """

    def __init__(self, database: FleetDatabase, device: DeviceId, keeper: LeaseKeeper | None = None) -> None:
        self._keeper = keeper or LeaseKeeper(database)
        self._database = database
        self._device = device
        self._owner = uuid.uuid4()
        self._held: set[str] = set()
        self._reserved: set[str] = set()
        self._lent: set[str] = set()
        self._taken_at: dict[str, float] = {}
        self._mutex = threading.Lock()

    @asynccontextmanager
    async def lease(self, name: str, *, timeout: float) -> AsyncGenerator[None]:
        """Hold a lease while the block runs; a lease that was lent by `lend` is used, and stays held.

        Raises:
            VaultError: `token_store_busy`, it is held elsewhere; `token_store_unwritable`, the database cannot be used.
        """
        if self._borrow(name):
            try:
                yield
            finally:
                self.lend(name)
            return
        pauses = _pauses(name, timeout)
        while not await self._take_shielded(name):
            await anyio.sleep(next(pauses))
            if self._keeper.stopping:
                raise _busy_error(name, "and this one stops")
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(self.release, name)

    def reserve(self, name: str) -> bool:
        """Exclude other tasks of this process before taking a lease; return whether that succeeded."""
        with self._mutex:
            if name in self._reserved:
                return False
            self._reserved.add(name)
            return True

    def cancel(self, name: str) -> None:
        """Undo `reserve`."""
        with self._mutex:
            self._reserved.discard(name)

    def insert(self, rows: DeviceRows, name: str) -> bool:
        """Take a reserved lease in a write transaction; return whether it was free."""
        self._taken_at[name] = now()
        taken = rows.execute(_TAKE, name=name, owner=self._owner, seconds=DURATION, left=LEFT_FOR).rowcount == 1
        if not taken:
            rows.execute(_NOTE_END, name=name)
        return taken

    def hold(self, name: str) -> None:
        """Hold a lease, after the transaction in which it was taken."""
        with self._mutex:
            self._held.add(name)
            self._keeper.add(self._owner, name, self._device, self._taken_at[name])

    def lend(self, name: str) -> None:
        """Let the next `lease` of this name use a held lease instead of taking it."""
        with self._mutex:
            if name in self._held:
                self._lent.add(name)

    def delete(self, rows: DeviceRows, name: str) -> None:
        """Release a lease in a write transaction; call `cancel` after the commit.

        Raises:
            LeaseLostError: it is no longer held by this process.
        """
        # Other transactions of the device wait for this one, and must find its row afterwards.
        self._stop_holding(name)
        if rows.execute(_GIVE_BACK, name=name, owner=self._owner).rowcount != 1:
            raise LeaseLostError(str(self._device))

    def _stop_holding(self, name: str) -> None:
        with self._mutex:
            self._held.discard(name)
            self._lent.discard(name)
            self._keeper.remove(self._owner, name)

    def _borrow(self, name: str) -> bool:
        with self._mutex:
            if name not in self._lent:
                return False
            self._lent.discard(name)
            return True

    def is_held(self, name: str) -> bool:
        """Return whether anybody holds a lease now."""
        query = (
            "SELECT 1 FROM leases WHERE device = %(device)s AND name = %(name)s "
            "AND until > clock_timestamp() - make_interval(secs => %(left)s)"
        )
        with as_os_error(), self._database.device_transaction(self._device, "read") as connection:
            return DeviceRows(connection, self._device).one(query, name=name, left=LEFT_FOR) is not None

    def confirm(self, name: str) -> None:
        """Check, without a query, that nobody can have taken over a lease of this process.

        Raises:
            LostHomeError: this process was suspended, or had no connection to the database, for too long to know.
        """
        if not self._keeper.is_kept(self._owner, name):
            raise LostHomeError(
                f"Another process may have taken over the work for {self._device}, since this one could not be seen "
                "for a while.",
                cause="token_store_busy",
                retryable=True,
                detail=f"the lease {name}",
            )

    def check(self, connection: Rows) -> None:
        """Check, in a write transaction, that this process still holds all its leases.

        Raises:
            LeaseLostError: one was lost.
        """
        with self._mutex:
            held = [*self._held]
        if not held:
            return
        query = "SELECT count(*) FROM leases WHERE device = %(device)s AND owner = %(owner)s AND name = ANY(%(names)s)"
        if DeviceRows(connection, self._device).value(query, owner=self._owner, names=held) != len(held):
            raise LeaseLostError(str(self._device))

    async def _take_shielded(self, name: str) -> bool:
        # Otherwise a cancelled task would not know that its thread has taken the lease.
        taken = False
        with anyio.CancelScope(shield=True):
            taken = await run_sync(self._take, name)
        return taken  # noqa: RET504 - a scope may swallow an exception, as far as type checkers know

    def _take(self, name: str) -> bool:
        # Tasks of one process exclude each other, too.
        if not self.reserve(name):
            return False
        taken = False
        try:
            taken = self._insert(name)
        except (DatabaseError, DeviceGoneError, CommitInDoubtError) as error:
            reason = error.strerror if isinstance(error, DatabaseError) else "it is unknown whether it was"
            if isinstance(error, DeviceGoneError):
                reason = "the device is not in the fleet any more"
            busy = isinstance(error, DatabaseError) and error.errno == errno.EBUSY
            raise VaultError(
                f"The lock {name} of {self._device} cannot be taken: {reason}.",
                cause="token_store_busy" if busy else "token_store_unwritable",
                retryable=True,
                detail=type(error).__name__,
            ) from error
        finally:
            if taken:
                self.hold(name)
            else:
                self.cancel(name)
        return taken

    def _insert(self, name: str) -> bool:
        with as_os_error(), self._database.device_transaction(self._device) as connection:
            return self.insert(DeviceRows(connection, self._device), name)

    def release(self, name: str) -> None:
        """Release a lease; if that fails, it ends without extension. Blocks."""
        self._stop_holding(name)
        try:
            with as_os_error(), self._database.device_transaction(self._device) as connection:
                DeviceRows(connection, self._device).execute(_GIVE_BACK, name=name, owner=self._owner)
        except (DatabaseError, DeviceGoneError, CommitInDoubtError):
            return
        finally:
            # Not earlier, since the next holder's row would be deleted.
            self.cancel(name)


def _pauses(name: str, timeout: float) -> Iterator[float]:
    """Yield the seconds to sleep before each further try; the last try is at the end of `timeout`."""
    end = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while (left := end - time.monotonic()) > 0:
        yield min(pause, left)
        pause = min(2 * pause, _LONGEST_PAUSE)
    raise _busy_error(name, f"which has not finished within {timeout:g} seconds")


def _busy_error(name: str, reason: str) -> VaultError:
    return VaultError(
        f"{name} is in use by another process of mailslot, {reason}.",
        cause="token_store_busy",
        retryable=True,
        detail=f"the lease {name}",
    )
