"""The mail to the owner of devices, in the language of this device."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from mailslot.message import Message
from mailslot.spool.job import DEVICE_NOTE
from mailslot_plugins.gateway.undelivered import failures, is_waiting
from mailslot_plugins.intake.auto_reply import AUTO_REPLY_HEADERS
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.status.words import load_words, translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailslot.message import Mailbox
    from mailslot.plugin import Job
    from mailslot_plugins.gateway.undelivered import Failure

MAX_LISTED: Final = 50
"""The most jobs that a mail lists."""

_MAX_RECIPIENTS: Final = 20
"""The most recipients of a job that are listed."""


def compose_notice(jobs: Sequence[Job], sender: Mailbox, to: str, language: str) -> Message:
    """Return the mail about jobs of an owner's devices.

    It contains none of their Message-IDs, so that it cannot be mistaken for a report about them.

    Args:
        jobs: the jobs, oldest first; at least one.
        sender: its sender.
        to: the owner's address.
        language: one of the panel's languages.
    """
    return Message(
        sender=sender,
        to=[to],
        subject=subject_of(jobs, language),
        text=text_of(jobs, language),
        auto_submitted="auto-generated",
        headers=AUTO_REPLY_HEADERS,
    )


def subject_of(jobs: Sequence[Job], language: str) -> str:
    """Return the subject of the mail about jobs."""
    names = sorted({job.notes.get(DEVICE_NOTE, "") for job in jobs})
    devices = names[0] if len(names) == 1 else word("devices", language, count=len(names))
    key = "subject_waiting" if all(map(is_waiting, jobs)) else "subject_not_delivered"
    return word(key, language, devices=devices)


def text_of(jobs: Sequence[Job], language: str) -> str:
    """Return the text of the mail about jobs."""
    lines: list[str] = []
    for key, waits in (("not_delivered", False), ("waiting", True)):
        listed = [job for job in jobs[:MAX_LISTED] if is_waiting(job) is waits]
        if listed:
            lines += [word(key, language), "", *(line for job in listed for line in _lines_of(job, language))]
    if len(jobs) > MAX_LISTED:
        lines += [word("more", language, count=len(jobs) - MAX_LISTED), ""]
    return "\n".join([*lines, word("advice", language), ""])


def word(key: str, language: str, **facts: object) -> str:
    """Return a text of this mail with its facts filled in."""
    return translate(load_words("mailslot_plugins.gateway", "mail_words.toml"), key, language, **facts)


def _lines_of(job: Job, language: str) -> Iterator[str]:
    accepted_at = datetime.fromtimestamp(job.created_at).astimezone().strftime("%Y-%m-%d %H:%M %z")
    subject = one_line(job.subject, 100) or word("no_subject", language)
    yield f"    {subject}"
    yield "    " + word("job", language, job=job.id, device=job.notes.get(DEVICE_NOTE, ""), at=accepted_at)
    failed = failures(job)
    for failure in failed[:_MAX_RECIPIENTS]:
        yield f"    {one_line(failure.address, 320)}: {_reason(failure, job, language)}"
        if details := _details(failure, language):
            yield f"        {details}"
    if len(failed) > _MAX_RECIPIENTS:
        yield "    " + word("more_recipients", language, count=len(failed) - _MAX_RECIPIENTS)
    if is_waiting(job) and (why := _sentence(job, language)):
        yield f"    {why}"
    yield ""


def _reason(failure: Failure, job: Job, language: str) -> str:
    if failure.reported or not failure.cause:
        return word("reported", language)
    if not failure.words:
        return _sentence(job, language)
    return _message(failure, language)


def _details(failure: Failure, language: str) -> str:
    """Return the reply of a mail server; for a report, our own sentence about it."""
    words = one_line(failure.words, 300)
    return f"{words}: {_message(failure, language)}" if failure.reported and words else words


def _message(failure: Failure, language: str) -> str:
    return explanation_of(failure.cause, language, facts={"recipient": one_line(failure.address, 320)}).message


def _sentence(job: Job, language: str) -> str:
    return explanation_of(job.cause, language, sentence=one_line(job.sentence, 500)).message if job.cause else ""
