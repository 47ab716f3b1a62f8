"""Delivery status notifications that a job requests from the mail server (RFC 3461)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mailslot.smtp.envelope import DeliveryStatus
from mailslot.spool.job import ENVELOPE_ID, NOTIFY

if TYPE_CHECKING:
    from mailslot.smtp.envelope import Notify
    from mailslot.spool.job import Job


def requested_notifications(job: Job) -> DeliveryStatus | None:
    """Return the notifications that a job's notes request; None if they request none."""
    notify = job.notes.get(NOTIFY)
    if notify is None:
        return None
    events = cast("tuple[Notify, ...]", tuple(notify.split(",")))
    return DeliveryStatus(events, whole_message=False, envelope_id=job.notes.get(ENVELOPE_ID))
