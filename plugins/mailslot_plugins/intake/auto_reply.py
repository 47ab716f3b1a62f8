"""Answers to mail that came in: one a mail, so many an hour, and marked as automatic (RFC 3834)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from mailslot.message import Message
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.intake.rate_limit import allow

if TYPE_CHECKING:
    from mailslot.message import Mailbox
    from mailslot.service.device import Device
    from mailslot_plugins.intake.mail import OpenedMail

HEADERS: Final = (("X-Auto-Response-Suppress", "All"),)
"""Keeps Exchange from answering (MS-OXCMAIL section 2.1.3.2.20); others go by Auto-Submitted."""


def reply_key(opened: OpenedMail, digest: str) -> str:
    """Return the name of the answer to a mail, for `NewJob.key`: the same mail, though it comes twice, has one answer.

    Args:
        opened: the mail.
        digest: that of its file, for a mail without an identifier.
    """
    same = f"{opened.message_id}\0{''.join(opened.senders)}" if opened.message_id else digest
    return hashlib.sha256(same.encode("utf-8", "replace")).hexdigest()


async def count_reply(device: Device, pipeline: str, key: str, address: str, *, each: int, together: int) -> str:
    """Count an answer, on the disk, before it is accepted: a crash in between costs a count, never a second answer.

    Args:
        device: the device.
        pipeline: whose answers are counted.
        key: `reply_key`; the same one counts once.
        address: whom it goes to.
        each: the most an hour to one address.
        together: the most an hour to all.

    Returns:
        why this one is too many; empty where it is not.
    """
    store = device.store(pipeline)
    stored = await store.get("answers")
    before = tuple((str(name), float(at), str(to)) for name, at, to in stored or ())
    answers, refusal = allow(before, key, address, device.now(), each=each, together=together)
    if answers != before:
        await store.put("answers", answers)
    return refusal


def reply_to(opened: OpenedMail, sender: Mailbox, to: str, text: str) -> Message:
    """Return the answer to a mail, in its thread (RFC 3834 section 3.1)."""
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
        headers=HEADERS,
    )
