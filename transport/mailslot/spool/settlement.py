"""What answers and troubles make of a job: all of it in pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mailslot.spool.job import Event, Job, Recipient, Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_SHOWN: Final = 5
_AWAITED: Final = (
    "The whole message was handed over, and the mail server's answer is awaited; without it, it may arrive twice."
)
_IN_DOUBT: Final = "The whole message was handed over, and the answer never came; it may arrive twice."


@dataclass(frozen=True, slots=True)
class Answers:
    """What the server answered about the recipients of a transaction; see `mailslot.spool.spool.Spool.settle`."""

    accepted: Collection[str] = ()
    refused: Mapping[str, Refusal] | None = None
    reply: str = ""
    until: float | None = None
    cause: str | None = None
    sentence: str = ""


def settled(job: Job, answers: Answers) -> tuple[Event, Job, Job]:
    """Return the event that answers amount to, the job, and the job with them.

    An answer about a recipient that has one already changes nothing.
    """
    recipients = tuple([_told(recipient, answers) for recipient in job.recipients])
    no = [recipient for recipient in recipients if recipient.state == "refused"]
    new = replace(_answered(job), recipients=recipients, reply=answers.reply or job.reply, next_attempt=None)
    if new.waiting:
        new = replace(new, cause=answers.cause, sentence=answers.sentence)
        if answers.until is None:
            # A further transaction is no further attempt.
            return "continue", job, replace(new, attempts=max(new.attempts - 1, 0))
        return "defer", job, replace(new, next_attempt=answers.until)
    cause = answers.cause or (no[0].cause if no else None)
    new = replace(new, cause=cause, sentence=answers.sentence or _refusals(no, len(recipients)))
    return ("deliver" if len(no) < len(recipients) else "fail"), job, new


def doubted(job: Job) -> Job:
    """Return a job whose message is about to be handed over."""
    return replace(job, doubts=job.doubts + 1, cause="in_doubt", sentence=_AWAITED)


def abandoned(job: Job) -> Job:
    """Return a job whose message was handed over, and whose answer nobody waits for any more."""
    return replace(job, sentence=_IN_DOUBT)


def troubled(cause: str, sentence: str, reply: str, until: float | None, job: Job) -> Job:
    """Return a job to which something happened that is no answer about its recipients."""
    return replace(_answered(job), cause=cause, sentence=sentence, reply=reply or job.reply, next_attempt=until)


def again(job: Job) -> Job:
    """Return a job that a person has sent again: who accepted it is left out, and who refused it is asked again.

    Where somebody still waits for an answer, only those are asked.
    """
    if not job.waiting:
        recipients = [Recipient(each.address) if each.state == "refused" else each for each in job.recipients]
        job = replace(job, recipients=tuple(recipients))
    return replace(job, attempts=0, next_attempt=None, cause=None, sentence="", reply="")


def _told(recipient: Recipient, answers: Answers) -> Recipient:
    if recipient.state != "waiting":
        return recipient
    if recipient.address in answers.accepted:
        return replace(recipient, state="accepted", reply=answers.reply, cause=None)
    if answers.refused and (refusal := answers.refused.get(recipient.address)) is not None:
        return replace(recipient, state="refused", reply=refusal.reply, cause=refusal.cause)
    return recipient


def _answered(job: Job) -> Job:
    """Return a job with the doubt gone that it was in until now."""
    return replace(job, doubts=job.doubts - 1) if job.state == "in_doubt" and job.doubts else job


def _refusals(refused: Collection[Recipient], of: int) -> str:
    if not refused:
        return ""
    shown = ", ".join(f"{each.address} ({each.reply})" if each.reply else each.address for each in [*refused][:_SHOWN])
    more = f" and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
    return f"{len(refused)} of {of} recipients refused: {shown}{more}."
