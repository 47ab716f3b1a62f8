"""Waits for a job's delivery, by this process or by the service."""

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

_RECHECK_INTERVAL: Final = 5.0
"""Seconds after which we check whether the service is still delivering."""


async def wait_for_delivery(device: Device, accepted: Job, progress: Callable[[int, int], None]) -> Job:
    """Return a job once it is finished or deferred; at once if it is delayed.

    If the service runs, it delivers and we watch; otherwise we deliver.

    Args:
        device: the device.
        accepted: the job, as it was accepted.
        progress: called with the octets sent and the total, if we deliver.

    Raises:
        MailError: the spool cannot be read or written.
    """
    while accepted.state != "deferred":
        try:
            return await Worker(device).deliver(accepted.id, progress)
        except SpoolError as error:
            if error.cause != "spool_busy":
                raise
        with anyio.move_on_after(_RECHECK_INTERVAL):
            async with aclosing(device.spool.watch(accepted.id)) as states:
                async for job in states:
                    if _is_answered(job):
                        return job
    return accepted


def _is_answered(job: Job) -> bool:
    # A job is in doubt from just before the last octet is sent; usually the reply follows at once.
    return job.state not in {"queued", "sending"} and not job.delivering
