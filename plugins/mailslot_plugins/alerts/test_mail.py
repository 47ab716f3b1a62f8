"""A mail that shows whether alarms would arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.message import Message
from mailslot.slots.section import DEVICE
from mailslot.spool.job import NewJob
from mailslot_plugins.alerts.alarms import LIFETIME, PIPELINE, RECORD, sender_of
from mailslot_plugins.alerts.section import SECTION, policy
from mailslot_plugins.intake.auto_reply import HEADERS
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.status.report import identity_lines

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.spool.job import Job


async def send_test_mail(device: Device) -> Job:
    """Accept a test mail to those who are told of alarms; return its job.

    Raises:
        InputError: cause `not_configured`: nobody is told of alarms, or they have no sender.
        MailError: the spool cannot take it.
    """
    identity = device.settings(DEVICE)
    recipients = policy(device.settings(SECTION), identity["administrator"]).recipients("other")
    if not recipients:
        raise InputError(
            "Nobody is named who is to be told of alarms: set the recipients first.",
            stage="envelope",
            cause="not_configured",
            key="recipients",
        )
    sender = await sender_of(device)
    message = Message(
        sender=sender,
        to=recipients,
        subject=f"[{one_line(identity['name'] or 'Device', 60)}] Test",
        text="\n".join([*identity_lines(identity), "", "This is a test: alarms of this device arrive here.", ""]),
        auto_submitted="auto-generated",
        headers=HEADERS,
    )
    new = NewJob(PIPELINE, RECORD, sender.address, recipients, message.subject, LIFETIME, notes={"what": "test"})
    return await device.spool.accept(new, message)
