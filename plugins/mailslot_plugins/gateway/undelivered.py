"""What the owner of a device is told about its jobs: mail that was not delivered, and mail that waits for long."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.smtp.refusals import judge_reply
from mailslot.smtp.states import Verb
from mailslot.spool.job import UNFINISHED
from mailslot.wire.reply import Reply
from mailslot_plugins.sending.confirmation import report_text, status_of

if TYPE_CHECKING:
    from mailslot.plugin import Job

TOLD_NOTE: Final = "owner_told"
"""The note with what the owner was told about a job last."""

DUE_NOTE: Final = "due_at"
"""The note with the time, in seconds since 1970, before which a mail is not to be sent."""

LATE_AFTER: Final = 4 * 3600.0
"""Seconds for which a job is overdue when it is told about; mail servers do so as late (Sendmail and Exchange)."""

_WAITING: Final = "waiting"

_REPORT: Final = re.compile(
    r"(?P<status>5\.\d{1,3}\.\d{1,3})(?: (?P<code>5\d\d)\b)?(?:[ -](?P<enhanced>5\.\d{1,3}\.\d{1,3})\b)?(.*)"
)
"""A report's status code, and the reply that it quotes."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a recipient has not received a message.

    Attributes:
        address: the recipient.
        cause: the id of the cause; empty if it is not known.
        words: the mail server's words; empty if it has said nothing about this recipient. Of a report only the status
            code, such as ``"5.1.1"``: anyone can write one, and owners must not read a stranger's words as ours.
        reported: whether a report says so, which came back later.
    """

    address: str
    cause: str = ""
    words: str = ""
    reported: bool = False


def news(job: Job, now: float) -> str:
    """Return what the owner must be told about a job, as the text for `TOLD_NOTE`; empty if nothing is new.

    Nothing is told twice. Once a mail was not delivered, it is not told again that it waits, such as after a person has
    retried it.

    Args:
        job: the job.
        now: the time.
    """
    told = job.notes.get(TOLD_NOTE, "")
    if job.state in UNFINISHED:
        due_at = max(job.created_at, float(job.notes.get(DUE_NOTE, 0.0)))
        return _WAITING if not told and now - due_at >= LATE_AFTER else ""
    failed = failures(job)
    # More recipients may fail later, by reports.
    current = f"{len(failed)} not delivered" if failed else ""
    return current if current != told else ""


def is_waiting(job: Job) -> bool:
    """Whether a job may still be delivered."""
    return job.state in UNFINISHED


def failures(job: Job) -> list[Failure]:
    """Return the recipients that a message will not reach, each with the reason."""
    found: list[Failure] = []
    for recipient in job.recipients:
        if recipient.state == "refused":
            found.append(Failure(recipient.address, recipient.cause or "", recipient.reply))
        elif status_of(job.notes, recipient.address) == "failed":
            found.append(_reported(recipient.address, report_text(job.notes, recipient.address)))
        elif recipient.state == "waiting" and job.state == "failed":
            found.append(Failure(recipient.address, job.cause or ""))
    return found


def _reported(address: str, text: str) -> Failure:
    found = _REPORT.match(text)
    if found is None:
        return Failure(address, reported=True)
    status, code, enhanced, words = found.groups()
    reply = Reply(int(code or 550), enhanced or status, words, positive=False)
    return Failure(address, judge_reply("envelope", reply, Verb.RCPT).cause, enhanced or status, reported=True)
