"""The jobs of which a device's owner is notified: mail that was not delivered, and mail that has waited long."""

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

REPORTED_NOTE: Final = "owner_told"
"""The note with the last state of which the owner was notified."""

DUE_NOTE: Final = "due_at"
"""The note with the time, in seconds since 1970, before which a mail must not be sent."""

LATE_AFTER: Final = 4 * 3600.0
"""Seconds after which an overdue job is reported, as by Sendmail and Exchange."""

_WAITING: Final = "waiting"

_REPORT: Final = re.compile(
    r"(?P<status>5\.\d{1,3}\.\d{1,3})(?: (?P<code>5\d\d)\b)?(?:[ -](?P<enhanced>5\.\d{1,3}\.\d{1,3})\b)?(.*)"
)
"""Matches the status code in a job's note of a report, and the quoted reply."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A recipient that did not receive a message, and the reason.

    Attributes:
        address: the recipient.
        cause: the id of the cause; empty if it is not known.
        words: the text of the mail server's reply; empty without one. Of a report, only the status code, such as
            ``"5.1.1"``: anyone can write a report, and owners must not take a stranger's text for ours.
        reported: whether this is known from a report that came back later.
    """

    address: str
    cause: str = ""
    words: str = ""
    reported: bool = False


def state_to_report(job: Job, now: float) -> str:
    """Return the state of a job of which the owner must be notified, as the text for `REPORTED_NOTE`; empty if none.

    Nothing is reported twice. After a failure, a wait is not reported, for example after a person has retried the job.

    Args:
        job: the job.
        now: the time.
    """
    told = job.notes.get(REPORTED_NOTE, "")
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
    """Return the recipients whose delivery failed for good, each with the reason."""
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
