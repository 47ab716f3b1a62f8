"""Which jobs a delivery holds: what a person wants of one is refused as long as it goes on, not once it has died."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from mailslot.spool.errors import SpoolError
from mailslot.spool.job import DeliveringError
from mailslot.spool.locks import exclusive

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from mailslot.spool.job import Job

T = TypeVar("T")

_BUSY: Final = "Another process of mailslot is delivering."


class Deliveries:
    """The deliveries of a spool.

    Args:
        path: the lock of whoever delivers.
        job: returns a job.
        reclaim: takes a job back from a delivery that has died.
    """

    def __init__(
        self, path: Path, job: Callable[[int], Awaitable[Job]], reclaim: Callable[[int], Awaitable[object]]
    ) -> None:
        self._path = path
        self._job = job
        self._reclaim = reclaim
        self._is_here = False
        self._held: set[int] = set()

    @asynccontextmanager
    async def lock(self, timeout: float) -> AsyncGenerator[None]:
        """Be the one who delivers; see `mailslot.spool.spool.Spool.delivery_lock`."""
        async with exclusive(self._path, _BUSY, timeout=timeout):
            self._is_here = True
            try:
                yield
            finally:
                self._is_here = False
                self._held.clear()

    def check(self) -> None:
        """Raise where nobody here holds the lock."""
        if not self._is_here:
            raise RuntimeError("only who holds the delivery lock may do this")

    def take(self, job_id: int) -> None:
        """Note that a delivery here has a job from now on."""
        self._held.add(job_id)

    async def let_go(self, job_id: int, work: Awaitable[T]) -> T:
        """Do what ends the delivery of a job."""
        result = await work
        self._held.discard(job_id)
        return result

    async def unless_held(self, job_id: int, work: Callable[[], Awaitable[T]]) -> T:
        """Do what a person asks for, unless a delivery holds the job.

        Raises:
            DeliveringError: one does.
        """
        try:
            return await work()
        except DeliveringError:
            if not await self._taken_back(job_id):
                raise
        return await work()

    async def _taken_back(self, job_id: int) -> bool:
        """Take a job back from a delivery that has died; return whether it had."""
        if self._is_here:
            # `Spool.recover` queues what was being sent; what is in doubt waits for nobody any more.
            if job_id in self._held or (await self._job(job_id)).state != "in_doubt":
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
