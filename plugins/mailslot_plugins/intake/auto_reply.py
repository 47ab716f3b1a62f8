"""Automatic replies to received mail: one for each mail, limited per hour, and marked as automatic (RFC 3834)."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Final

from mailslot.message import Message
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.intake.rate_limit import count

if TYPE_CHECKING:
    from mailslot.message import Mailbox
    from mailslot.service.device import Device
    from mailslot_plugins.intake.mail import OpenedMail

AUTO_REPLY_HEADERS: Final = (("X-Auto-Response-Suppress", "All"),)
"""Keeps Exchange from replying (MS-OXCMAIL section 2.1.3.2.20); other servers obey Auto-Submitted."""


def reply_key(opened: OpenedMail, digest: str) -> str:
    """Return the key of the reply to a mail, for `NewJob.key`: a mail that arrives twice has one reply.

    Args:
        opened: the mail.
        digest: the digest of its file, for a mail without Message-ID.
    """
    identity = f"{opened.message_id}\0{''.join(opened.senders)}" if opened.message_id else digest
    return hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()


async def count_reply(
    device: Device, pipeline: str, key: str, address: str, *, max_per_address: int, max_total: int
) -> str:
    """Count a reply before it is accepted: a crash in between costs a count, but never sends two replies.

    It is on the disk no later than the reply, which is written to the same database.

    Args:
        device: the device.
        pipeline: the pipeline whose replies are counted.
        key: the key from `reply_key`; the same key counts once.
        address: the recipient.
        max_per_address: the most replies per hour to one address.
        max_total: the most replies per hour.

    Returns:
        why the reply exceeds the limits; empty if it does not.
    """
    work = partial(
        count,
        key=key,
        address=address,
        now=device.now(),
        max_per_address=max_per_address,
        max_total=max_total,
    )
    return await device.store(f"{pipeline} answers").run(work, durable=False)


def compose_reply(opened: OpenedMail, sender: Mailbox, to: str, text: str) -> Message:
    """Compose the reply to a mail, in its thread (RFC 3834 section 3.1)."""
    identifiers = (opened.message_id,) if opened.message_id else ()
    return Message(
        sender=sender,
        to=[to],
        # RFC 3834 section 3.1.5
        subject=f"Auto: Re: {one_line(opened.subject, 150)}".strip(),
        text=text,
        in_reply_to=opened.message_id or None,
        references=(*opened.references, *identifiers)[-10:],
        auto_submitted="auto-replied",
        headers=AUTO_REPLY_HEADERS,
    )
