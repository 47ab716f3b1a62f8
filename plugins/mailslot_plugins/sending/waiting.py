"""Waiting until the mail server has answered, whoever delivers."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.service.worker import Worker
from mailslot.spool.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.service.device import Device
    from mailslot.spool.job import Job

_WATCH: Final = 5.0
"""Seconds after which it is looked whether whoever delivers is still there."""


async def wait_for(device: Device, job_id: int, progress: Callable[[int, int], None]) -> Job:
    """Return a job once it has ended, or waits for something that may take long.

    Where the service runs, it delivers and we watch; else we deliver.

    Args:
        device: the device.
        job_id: the job.
        progress: told how many octets of how many are out, where we deliver.

    Raises:
        MailError: the spool cannot be read or written.
    """
    while True:
        try:
            return await Worker(device).deliver(job_id, progress)
        except SpoolError as error:
            if error.cause != "spool_busy":
                raise
        with anyio.move_on_after(_WATCH):
            async with aclosing(device.spool.watch(job_id)) as states:
                async for job in states:
                    if _is_answered(job):
                        return job


def _is_answered(job: Job) -> bool:
    # It is in doubt from just before the last octet leaves; mostly the answer comes at once.
    return job.state not in {"queued", "sending"} and not job.delivering
