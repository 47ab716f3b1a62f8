"""The answer to a sender whose mail was not printed, or not all of it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.errors import InputError, MailError
from mailslot.message import Mailbox, Message
from mailslot.slots.presets import effective
from mailslot.spool.job import NewJob
from mailslot_plugins.alerts.text import HEADERS
from mailslot_plugins.alerts.words import one_line
from mailslot_plugins.intake.answerable import judge, own_addresses
from mailslot_plugins.intake.rate import allow
from mailslot_plugins.print.section import SECTION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.service.device import Device
    from mailslot.spool.incoming import Incoming
    from mailslot_plugins.intake.mail import OpenedMail

RECORD: Final = "smtp"
STORE: Final = "print-answers"
LIFETIME: Final = 86_400.0

_EACH: Final = 6
_TOGETHER: Final = 30
_MOST_LINES: Final = 30


async def answer(device: Device, mail: Incoming, opened: OpenedMail, failed: Sequence[tuple[str, str]]) -> str:
    """Tell a sender once what was not printed and why, if anybody may be told.

    Args:
        device: the device.
        mail: the mail.
        opened: the same, opened.
        failed: the name of each document that was not printed, and why.

    Returns:
        what came of it, in a few words; empty where senders are not told.

    Raises:
        MailError: the answer cannot be accepted now; later it may be.
    """
    values = device.settings(SECTION)
    if not values["reply"]:
        return ""
    judged = judge(opened, await run_sync(own_addresses, device), values["allowed_senders"])
    if judged.refusal:
        return f"not answered: {judged.refusal}"
    key = _key(opened, mail.digest)
    # Counted before the answer is accepted: a crash in between costs a count, never a second answer.
    if refusal := await _count(device, key, judged.address):
        return f"not answered: {refusal}"
    try:
        sender = await _sender(device)
    except InputError as error:
        return f"not answered: {error}"
    message = Message(
        sender=sender,
        to=[judged.address],
        # RFC 3834 section 3.1.5
        subject=f"Auto: Re: {one_line(opened.subject, 150)}".strip(),
        text=_text(device, failed),
        in_reply_to=opened.message_id or None,
        references=(*opened.references, *((opened.message_id,) if opened.message_id else ()))[-10:],
        auto_submitted="auto-replied",
        headers=HEADERS,
    )
    new = NewJob(
        pipeline="print",
        via=RECORD,
        sender=sender.address,
        recipients=[judged.address],
        subject=message.subject,
        lifetime=LIFETIME,
        key=key,
    )
    return f"answered by job {(await device.spool.accept(new, message)).id}"


def _text(device: Device, failed: Sequence[tuple[str, str]]) -> str:
    lines = [f"{one_line(title, 120)}: {one_line(reason, 300)}" for title, reason in failed[:_MOST_LINES]]
    if len(failed) > _MOST_LINES:
        lines.append(f"and {len(failed) - _MOST_LINES} more.")
    name = device.identity.name
    head = f"{name} could not print:" if name else "This printer could not print:"
    return "\n".join([head, "", *lines, ""])


async def _count(device: Device, key: str, address: str) -> str:
    store = device.store(STORE)
    stored = await store.get("answers")
    before = tuple((str(name), float(at), str(to)) for name, at, to in stored or ())
    answers, refusal = allow(before, key, address, device.now(), each=_EACH, together=_TOGETHER)
    if answers != before:
        await store.put("answers", answers)
    return refusal


async def _sender(device: Device) -> Mailbox:
    try:
        settings = effective((await run_sync(device.records.settings.load))[RECORD], "SMTP")
    except MailError as error:
        raise InputError(str(error), stage="envelope", cause="not_configured") from error
    if settings.sender_address is None:
        raise InputError("network.smtp has no sender address", stage="envelope", cause="not_configured")
    return Mailbox(settings.sender_address, settings.sender_name or "")


def _key(opened: OpenedMail, digest: str) -> str:
    """Return the name of the answer: the same mail, though it comes twice, has one answer."""
    same = f"{opened.message_id}\0{''.join(opened.senders)}" if opened.message_id else digest
    return f"print:{hashlib.sha256(same.encode('utf-8', 'replace')).hexdigest()}"
