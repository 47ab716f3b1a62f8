"""The jobs that are being delivered: people cannot cancel or retry them, unless the delivering process has died."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from mailslot.spool.errors import SpoolError
from mailslot.spool.job import DeliveringError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from mailslot.spool.job import Job
    from mailslot.spool.storage import Storage

T = TypeVar("T")

DELIVERY_LOCK: Final = "delivery"
_BUSY: Final = "Another process of mailslot is delivering."


class DeliveryClaims:
    """The delivery lock of a spool, and the jobs that this process has claimed.

    Args:
        storage: the spool's storage, which has the lock.
        job: returns the job with an id.
        reclaim: takes the job with an id back from a delivery that has died.
    """

    def __init__(
        self, storage: Storage, job: Callable[[int], Awaitable[Job]], reclaim: Callable[[int], Awaitable[object]]
    ) -> None:
        self._storage = storage
        self._job = job
        self._reclaim = reclaim
        self._holds_lock = False
        self._claimed: set[int] = set()

    @asynccontextmanager
    async def lock(self, timeout: float) -> AsyncGenerator[None]:
        """Hold the delivery lock; see `mailslot.spool.spool.Spool.delivery_lock`."""
        async with self._storage.lock(DELIVERY_LOCK, _BUSY, timeout=timeout):
            self._holds_lock = True
            try:
                yield
            finally:
                self._holds_lock = False
                self._claimed.clear()

    def require_lock(self) -> None:
        """Check that this process holds the lock.

        Raises:
            RuntimeError: it does not, which is a bug of the caller.
        """
        if not self._holds_lock:
            raise RuntimeError("only who holds the delivery lock may do this")

    def claim(self, job_id: int) -> None:
        """Record that a delivery of this process has claimed a job."""
        self._claimed.add(job_id)

    async def release_after(self, job_id: int, work: Awaitable[T]) -> T:
        """Do the work that ends the delivery of a job, then release the job; return what the work returns.

        If the work raises, the job stays claimed.
        """
        result = await work
        self._claimed.discard(job_id)
        return result

    async def run_unless_claimed(self, job_id: int, work: Callable[[], Awaitable[T]]) -> T:
        """Do what a person asks for, unless the job is being delivered; return what `work` returns.

        Args:
            job_id: the id of the job.
            work: changes the job; it is called again if the delivery of the job turns out to have died.

        Raises:
            DeliveringError: the job is being delivered.
        """
        try:
            return await work()
        except DeliveringError:
            if not await self._reclaim_if_dead(job_id):
                raise
        return await work()

    async def _reclaim_if_dead(self, job_id: int) -> bool:
        """Take a job back if its delivery has died; return whether it had."""
        if self._holds_lock:
            # `Spool.recover` requeues jobs in `sending`, so only jobs in doubt can be left over.
            if job_id in self._claimed or (await self._job(job_id)).state != "in_doubt":
                return False
            await self._reclaim(job_id)
            return True
        try:
            async with self.lock(0.0):
                await self._reclaim(job_id)
        except SpoolError as error:
            if error.cause != "spool_busy":
                raise
            return False
        return True
