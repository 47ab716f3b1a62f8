"""Replies to a sender whose mail was not printed, or not all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.spool.job import NewJob
from mailslot_plugins.intake.auto_reply import compose_reply, count_reply, reply_key
from mailslot_plugins.intake.auto_reply_policy import decide_reply, own_addresses
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.print.section import SECTION
from mailslot_plugins.sending.account import RECORD, sender_mailbox, sending_settings
from mailslot_plugins.status.words import load_words, translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.service.device import Device
    from mailslot.spool.incoming import Incoming
    from mailslot_plugins.intake.mail import OpenedMail

PIPELINE: Final = "print"
"""The pipeline of the replies, whose store counts them."""

LIFETIME: Final = 86_400.0

_MAX_PER_SENDER: Final = 6
_MAX_TOTAL: Final = 30
_MAX_LINES: Final = 30


async def notify_sender(device: Device, mail: Incoming, opened: OpenedMail, failed: Sequence[tuple[str, str]]) -> str:
    """Reply once to a sender about what was not printed and why, if replies are allowed.

    Args:
        device: the device.
        mail: the mail.
        opened: the opened mail.
        failed: the name of each document that was not printed, and the reason.

    Returns:
        what was done, in a few words; empty if replies are switched off.

    Raises:
        MailError: the reply cannot be accepted now.
    """
    values = device.settings(SECTION)
    if not values["reply"]:
        return ""
    decision = decide_reply(opened, await run_sync(own_addresses, device), values["allowed_senders"])
    if decision.refusal:
        return f"not answered: {decision.refusal}"
    key = reply_key(opened, mail.digest)
    if refusal := await count_reply(
        device, PIPELINE, key, decision.address, max_per_address=_MAX_PER_SENDER, max_total=_MAX_TOTAL
    ):
        return f"not answered: {refusal}"
    try:
        sender = sender_mailbox(device, await sending_settings(device))
    except InputError as error:
        return f"not answered: {error}"
    message = compose_reply(opened, sender, decision.address, _text(device, failed))
    new = NewJob(
        pipeline=PIPELINE,
        via=RECORD,
        sender=sender.address,
        recipients=[decision.address],
        subject=message.subject,
        lifetime=LIFETIME,
        key=key,
    )
    return f"answered by job {(await device.spool.accept(new, message)).id}"


def _text(device: Device, failed: Sequence[tuple[str, str]]) -> str:
    """Return the reply in the language of the device."""
    name, language = device.identity.name, device.identity.language
    from mailslot_plugins.panel.sentences import translated  # noqa: PLC0415 - its table is needed for such mails only

    reasons = [(one_line(title, 120), one_line(translated(reason, language), 300)) for title, reason in failed]
    lines = [f"{title}: {reason}" for title, reason in reasons[:_MAX_LINES]]
    if len(failed) > _MAX_LINES:
        lines.append(_word("and_more", language, number=len(failed) - _MAX_LINES))
    first_line = _word("could_not_print", language, name=name or _word("this_printer", language))
    return "\n".join([first_line, "", *lines, ""])


def _word(key: str, language: str, **facts: object) -> str:
    return translate(load_words("mailslot_plugins.print", "mail_words.toml"), key, language, **facts)
