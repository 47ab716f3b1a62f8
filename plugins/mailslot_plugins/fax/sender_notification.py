"""Notifies the sender of a fax once, if that is configured, requested and allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.smtp.content import BytesContent
from mailslot.spool.job import NOTIFY, NewJob
from mailslot_plugins.fax.receipt import compose_receipt, decide_receipt
from mailslot_plugins.fax.section import SECTION
from mailslot_plugins.intake.auto_reply import compose_reply, count_reply, reply_key
from mailslot_plugins.intake.auto_reply_policy import decide_reply, own_addresses
from mailslot_plugins.sending.account import RECORD, sender_mailbox, sending_settings

if TYPE_CHECKING:
    from mailslot.message import Mailbox
    from mailslot.service.device import Device
    from mailslot.smtp.content import Content
    from mailslot.spool.incoming import Incoming
    from mailslot_plugins.intake.mail import OpenedMail

PIPELINE: Final = "fax-answers"
"""The pipeline of the notifications. It has no retry policy, so that one that may have been sent is not sent again."""

MAX_PER_SENDER, MAX_TOTAL = 20, 100
"""Notifications per hour: to one sender, and to all senders."""

_LIFETIME: Final = 86400.0


async def notify_sender(device: Device, mail: Incoming, opened: OpenedMail, error: str) -> None:
    """Send a receipt for a fax, or a mail that says why it was not printed.

    Args:
        device: the device.
        mail: the fax.
        opened: the opened mail.
        error: why it was not printed; empty if it was.

    Raises:
        MailError: the notification cannot be accepted now.
    """
    settings = device.settings(SECTION)
    own, allowed_senders = await run_sync(own_addresses, device), settings["allowed_senders"]
    receipt = decide_receipt(opened, own, allowed_senders).address if settings["receipts"] else ""
    address = receipt or (
        decide_reply(opened, own, allowed_senders).address if error and settings["answer_failures"] else ""
    )
    key = reply_key(opened, mail.digest)
    if not address or await count_reply(
        device, PIPELINE, key, address, max_per_address=MAX_PER_SENDER, max_total=MAX_TOTAL
    ):
        return
    sender = sender_mailbox(device, await sending_settings(device))
    message: Content = (
        await _make_receipt(device, opened, sender, address, error)
        if receipt
        else compose_reply(opened, sender, address, f"Your fax could not be printed. {error}\n")
    )
    await device.spool.accept(
        NewJob(
            pipeline=PIPELINE,
            via=RECORD,
            # A receipt has the null sender (RFC 8098 section 3), so that nothing is ever sent in reply to it.
            sender="" if receipt else sender.address,
            recipients=[address],
            subject="Fax not printed" if error else "Fax printed",
            lifetime=_LIFETIME,
            key=key,
            notes={NOTIFY: "NEVER"},
        ),
        message,
    )


async def _make_receipt(device: Device, opened: OpenedMail, sender: Mailbox, address: str, error: str) -> Content:
    account = (await run_sync(device.records.settings.load))["fax-pop"].account or ""
    octets = compose_receipt(
        opened,
        sender=sender.address,
        mailbox=account if "@" in account else sender.address,
        to=address,
        device=device.identity.name,
        error=error,
        at=device.now(),
    )
    return BytesContent(octets)
