"""The pipeline that answers requests: what comes in at ``status.pop`` is answered through ``alert.smtp``."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
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
from mailslot_plugins.alerts.alarms import RECORD, sender_of
from mailslot_plugins.alerts.section import SECTION as ALERTS
from mailslot_plugins.intake.auto_reply import count_reply, reply_key, reply_to
from mailslot_plugins.intake.auto_reply_policy import decide_reply, own_addresses
from mailslot_plugins.intake.mail import open_mail
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.intake.process import IntakeError
from mailslot_plugins.sending.reports import take_report
from mailslot_plugins.status.report import identity_lines, report
from mailslot_plugins.status.request import HELP, parse_request
from mailslot_plugins.status.section import SECTION

if TYPE_CHECKING:
    from mailslot.plugin import Device, Incoming, Mailbox, Message
    from mailslot_plugins.intake.mail import OpenedMail

LIFETIME: Final = 86400.0
"""How long an answer may wait for the server, in seconds; later it is of no use."""

_AGAIN: Final = 300.0
logger = logging.getLogger(__name__)


class StatusPipeline:
    """Answers who may ask, once a mail."""

    name: Final = "status"
    section: Final = SECTION
    polls: Final = "status-pop"
    # An answer may arrive twice: without one, the asker takes the device for one that is off.
    # It is one mail, handed over twice with one Message-ID (RFC 5322 section 3.6.4), to one request.
    retry_policy: Final = RetryPolicy(UNATTENDED, resubmit_after=RESUBMIT_AFTER)
    panel: Final = PanelPackage("mailslot_plugins.status.panel")

    async def handle(self, mail: Incoming, device: Device) -> Done | SetAside | Later:
        """Answer a mail, or say why not."""
        if mail.path is None:
            return SetAside("its file is gone")
        try:
            with TemporaryDirectory(prefix="mailslot-status-") as folder:
                asked = await open_mail(mail.path, Path(folder))
        except IntakeError as error:
            return SetAside(str(error))
        if asked.report is not None:
            return Done((await take_report(asked.report, device)).said)
        return await self._answer(mail, asked, device)

    async def _answer(self, mail: Incoming, asked: OpenedMail, device: Device) -> Done | Later:
        values = device.settings(SECTION)
        judged = decide_reply(asked, await run_sync(own_addresses, device), values["allowed_senders"])
        if judged.refusal:
            return Done(f"not answered: {judged.refusal}")
        key = reply_key(asked, mail.digest)
        refusal = await count_reply(
            device,
            self.name,
            key,
            judged.address,
            each=values["answers_per_sender"],
            together=values["answers_per_hour"],
        )
        if refusal:
            return Done(f"not answered: {refusal}")
        try:
            sender = await sender_of(device)
            message = await _answer(device, asked, sender, judged.address)
            job = await device.spool.accept(
                NewJob(
                    pipeline=self.name,
                    via=RECORD,
                    sender=sender.address,
                    recipients=[judged.address],
                    subject=message.subject,
                    lifetime=LIFETIME,
                    key=key,
                ),
                message,
            )
        except MailError as error:
            return Later(_AGAIN, str(error))
        return Done(f"answered by job {job.id}")

    async def run(self, device: Device) -> None:
        """Do nothing beside the polling."""


async def _answer(device: Device, asked: OpenedMail, sender: Mailbox, to: str) -> Message:
    """Return the answer to a request."""
    request = parse_request(asked.subject, asked.text.splitlines()[:100])
    alerts = device.settings(ALERTS)
    text = ""
    if request.topics:
        text = await report(
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
    return reply_to(asked, sender, to, text)


pipeline: Final = StatusPipeline()
