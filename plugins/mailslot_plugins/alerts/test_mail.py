"""A test mail, which shows whether alarms arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.slots.section import DEVICE
from mailslot_plugins.alerts.alarms import alert_sender, enqueue_device_mail
from mailslot_plugins.alerts.mail_text import mail_word
from mailslot_plugins.alerts.section import SECTION, policy
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
    language: str = identity["language"]
    text = "\n".join([*identity_lines(identity), "", mail_word("test_body", language), ""])
    return await enqueue_device_mail(device, sender, recipients, mail_word("test_subject", language), text, what="test")
