"""A test mail, which shows whether alarms arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.message import Message
from mailslot.slots.section import DEVICE
from mailslot.spool.job import NewJob
from mailslot_plugins.alerts.alarms import LIFETIME, PIPELINE, RECORD, alert_sender
from mailslot_plugins.alerts.section import SECTION, policy
from mailslot_plugins.intake.auto_reply import AUTO_REPLY_HEADERS
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.status.status_report import identity_lines

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.spool.job import Job


async def send_test_mail(device: Device) -> Job:
    """Accept a test mail to the recipients of alarms; return its job.

    Raises:
        InputError: cause `not_configured`: alarms have no recipients or no sender.
        MailError: the spool cannot take it.
    """
    identity = device.settings(DEVICE)
    recipients = policy(device.settings(SECTION), identity["administrator"]).recipients("other")
    if not recipients:
        raise InputError(
            "Alarms have no recipients yet: set them first.",
            stage="envelope",
            cause="not_configured",
            key="recipients",
        )
    sender = await alert_sender(device)
    message = Message(
        sender=sender,
        to=recipients,
        subject=f"[{one_line(identity['name'] or 'Device', 60)}] Test",
        text="\n".join([*identity_lines(identity), "", "This is a test: alarms of this device arrive here.", ""]),
        auto_submitted="auto-generated",
        headers=AUTO_REPLY_HEADERS,
    )
    new = NewJob(PIPELINE, RECORD, sender.address, recipients, message.subject, LIFETIME, notes={"what": "test"})
    return await device.spool.accept(new, message)
