"""The pipeline ``status``: it answers requests from ``status.pop`` through ``alert.smtp``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.plugin import (
    DEVICE,
    RESUBMIT_AFTER,
    UNATTENDED,
    Done,
    Later,
    MailError,
    NewJob,
    PanelPackage,
    RetryPolicy,
    SetAside,
)
from mailslot_plugins.alerts.alarms import RECORD, sender_of_alerts
from mailslot_plugins.alerts.section import SECTION as ALERTS
from mailslot_plugins.intake.auto_reply import compose_reply, count_reply, reply_key
from mailslot_plugins.intake.auto_reply_policy import addresses_in, decide_reply
from mailslot_plugins.intake.mail import open_mail
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.intake.process import IntakeError
from mailslot_plugins.sending.reports import apply_report
from mailslot_plugins.status.request import HELP, parse_request
from mailslot_plugins.status.section import SECTION
from mailslot_plugins.status.status_report import device_report, identity_lines

if TYPE_CHECKING:
    from mailslot.plugin import Device, Incoming, Mailbox, Message
    from mailslot_plugins.intake.mail import OpenedMail

LIFETIME: Final = 86400.0
"""Seconds that a reply may wait for the server; later it is of no use."""

_RETRY_DELAY: Final = 300.0
logger = logging.getLogger(__name__)


class StatusPipeline:
    """Answers each request once, if its sender may ask."""

    name: Final = "status"
    section: Final = SECTION
    polls: Final = "status-pop"
    # A reply may arrive twice: without one, the sender would think that the device is off. It is the same mail,
    # submitted twice with one Message-ID (RFC 5322 section 3.6.4), in reply to one request.
    retry_policy: Final = RetryPolicy(UNATTENDED, resubmit_after=RESUBMIT_AFTER)
    panel: Final = PanelPackage("mailslot_plugins.status.panel")
    # Most of the time that an answer takes is for the disk and the confined process, which others can use meanwhile.
    handles_at_once: Final = 4

    async def handle(self, mail: Incoming, device: Device) -> Done | SetAside | Later:
        """Answer a mail, or return why it is not answered."""
        if mail.path is None:
            return SetAside("its file is missing")
        try:
            async with device.working_folder() as folder:
                request_mail = await open_mail(mail.path, folder)
        except IntakeError as error:
            return SetAside(str(error))
        if request_mail.report is not None:
            return Done((await apply_report(request_mail.report, device)).sentence)
        return await self._reply(mail, request_mail, device)

    async def _reply(self, mail: Incoming, request_mail: OpenedMail, device: Device) -> Done | Later:
        values = device.settings(SECTION)
        settings = (await run_sync(device.records.settings.current)).records
        decision = decide_reply(request_mail, addresses_in(settings), values["allowed_senders"])
        if decision.refusal:
            return Done(f"not answered: {decision.refusal}")
        key = reply_key(request_mail, mail.digest)
        refusal = await count_reply(
            device,
            self.name,
            key,
            decision.address,
            max_per_address=values["answers_per_sender"],
            max_total=values["answers_per_hour"],
        )
        if refusal:
            return Done(f"not answered: {refusal}")
        try:
            sender = sender_of_alerts(settings)
            message = await _reply(device, request_mail, sender, decision.address)
            job = await device.spool.accept(
                NewJob(
                    pipeline=self.name,
                    via=RECORD,
                    sender=sender.address,
                    recipients=[decision.address],
                    subject=message.subject,
                    lifetime=LIFETIME,
                    key=key,
                ),
                message,
            )
        except MailError as error:
            return Later(_RETRY_DELAY, str(error))
        return Done(f"answered by job {job.id}")

    async def run(self, device: Device) -> None:
        """Do nothing: this pipeline only handles polled mail."""


async def _reply(device: Device, request_mail: OpenedMail, sender: Mailbox, to: str) -> Message:
    """Return the reply to a request."""
    request = parse_request(request_mail.subject, request_mail.text.splitlines()[:100])
    alerts = device.settings(ALERTS)
    text = ""
    if request.topics:
        text = await device_report(
            device,
            request.topics,
            printer=alerts["printer"],
            ca_file=alerts["printer_ca_file"],
            zone=alerts["timezone"],
        )
    else:
        text = "\n".join([*identity_lines(device.settings(DEVICE)), ""])
    if request.unknown:
        text += f"\nNot understood: {one_line(', '.join(request.unknown), 200)}\n"
    if request.unknown or not request.topics:
        text += f"\n{HELP}"
    return compose_reply(request_mail, sender, to, text)


pipeline: Final = StatusPipeline()
