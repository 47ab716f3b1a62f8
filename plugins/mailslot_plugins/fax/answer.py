"""What the sender of a fax is told, where that is set, asked for and allowed: once, whatever happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.smtp.content import BytesContent
from mailslot.spool.job import NOTIFY, NewJob
from mailslot_plugins.fax.receipt import compose_receipt, judge_receipt
from mailslot_plugins.fax.section import FAX
from mailslot_plugins.intake.auto_reply import count_reply, reply_key, reply_to
from mailslot_plugins.intake.auto_reply_policy import decide_reply, own_addresses
from mailslot_plugins.sending.account import RECORD, record_settings, sender_of

if TYPE_CHECKING:
    from mailslot.message import Mailbox
    from mailslot.service.device import Device
    from mailslot.smtp.content import Content
    from mailslot.spool.incoming import Incoming
    from mailslot_plugins.intake.mail import OpenedMail

PIPELINE: Final = "fax-answers"
"""The pipeline of the answers; it has no schedule of its own, so that what may have been sent is not sent again."""

EACH, TOGETHER = 20, 100
"""Answers an hour, to one sender and to all."""

_LIFETIME: Final = 86400.0


async def answer(device: Device, mail: Incoming, opened: OpenedMail, error: str) -> None:
    """Answer a fax by a receipt, or by a mail that says why it was not printed.

    Args:
        device: the device.
        mail: the fax.
        opened: the same, opened.
        error: why it was not printed; empty where it was.

    Raises:
        MailError: the answer cannot be accepted now.
    """
    settings = device.settings(FAX)
    own, allowed = await run_sync(own_addresses, device), settings["allowed_senders"]
    receipt = judge_receipt(opened, own, allowed).address if settings["receipts"] else ""
    to = receipt or (decide_reply(opened, own, allowed).address if error and settings["answer_failures"] else "")
    key = reply_key(opened, mail.digest)
    if not to or await count_reply(device, PIPELINE, key, to, each=EACH, together=TOGETHER):
        return
    sender = sender_of(device, await record_settings(device))
    message: Content = (
        await _receipt(device, opened, sender, to, error)
        if receipt
        else reply_to(opened, sender, to, f"Your fax could not be printed. {error}\n")
    )
    await device.spool.accept(
        NewJob(
            pipeline=PIPELINE,
            via=RECORD,
            # A receipt comes from the null sender (RFC 8098 section 3), so that nothing ever comes back to it.
            sender="" if receipt else sender.address,
            recipients=[to],
            subject="Fax not printed" if error else "Fax printed",
            lifetime=_LIFETIME,
            key=key,
            notes={NOTIFY: "NEVER"},
        ),
        message,
    )


async def _receipt(device: Device, opened: OpenedMail, sender: Mailbox, to: str, error: str) -> Content:
    account = (await run_sync(device.records.settings.load))["fax-pop"].account or ""
    octets = compose_receipt(
        opened,
        sender=sender.address,
        mailbox=account if "@" in account else sender.address,
        to=to,
        device=device.identity.name,
        error=error,
        at=device.now(),
    )
    return BytesContent(octets)
