"""The answer to a sender whose mail was not printed, or not all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.spool.job import NewJob
from mailslot_plugins.intake.auto_reply import count_reply, reply_key, reply_to
from mailslot_plugins.intake.auto_reply_policy import decide_reply, own_addresses
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.print.section import SECTION
from mailslot_plugins.sending.account import RECORD, record_settings, sender_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.service.device import Device
    from mailslot.spool.incoming import Incoming
    from mailslot_plugins.intake.mail import OpenedMail

PIPELINE: Final = "print"
"""The pipeline of the answers, and whose memory counts them."""

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
    judged = decide_reply(opened, await run_sync(own_addresses, device), values["allowed_senders"])
    if judged.refusal:
        return f"not answered: {judged.refusal}"
    key = reply_key(opened, mail.digest)
    if refusal := await count_reply(device, PIPELINE, key, judged.address, each=_EACH, together=_TOGETHER):
        return f"not answered: {refusal}"
    try:
        sender = sender_of(device, await record_settings(device))
    except InputError as error:
        return f"not answered: {error}"
    message = reply_to(opened, sender, judged.address, _text(device, failed))
    new = NewJob(
        pipeline=PIPELINE,
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
