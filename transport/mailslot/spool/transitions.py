"""What each event makes of a job: pure functions from a job and the time to the job as it is then.

`mailslot.spool.job.TRANSITIONS` says which state follows; here stands what else changes with it. Each may raise what
`mailslot.spool.job.next_state` raises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mailslot.spool.job import Event, Job, Recipient, Refusal, next_state

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_SHOWN: Final = 5
_AWAITED: Final = (
    "The whole message was handed over, and the mail server's answer is awaited; without it, it may arrive twice."
)
_IN_DOUBT: Final = "The whole message was handed over, and the answer never came; it may arrive twice."


@dataclass(frozen=True, slots=True)
class RecipientReplies:
    """What the server answered about the recipients of a transaction; see `mailslot.spool.spool.Spool.settle`."""

    accepted: Collection[str] = ()
    refused: Mapping[str, Refusal] | None = None
    reply: str = ""
    until: float | None = None
    cause: str | None = None
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """What happened to a job that is no answer about its recipients."""

    cause: str
    sentence: str
    reply: str = ""


def claim(job: Job, now: float) -> Job:
    """An attempt begins."""
    return _move("claim", replace(job, attempts=job.attempts + 1, next_attempt=None), now)


def requeue(job: Job, now: float) -> Job:
    """Nothing of it left, and the attempt does not count."""
    return _move("requeue", replace(job, attempts=max(job.attempts - 1, 0)), now)


def hand_over(job: Job, now: float) -> Job:
    """The end of the message is about to leave."""
    return _move("hand_over", replace(job, doubts=job.doubts + 1, cause="in_doubt", sentence=_AWAITED), now)


def abandon(job: Job, now: float) -> Job:
    """It was handed over, and nobody waits for the answer any more."""
    return _move("abandon", replace(job, sentence=_IN_DOUBT), now)


def reclaim(job: Job, now: float) -> Job:
    """The delivery that had it has died: nothing of it left, or nobody waits for the answer any more."""
    if job.state == "sending":
        # The attempt counts: a job that ends the process must not be tried for ever.
        return _move("requeue", job, now)
    return abandon(job, now) if job.delivering else job


def settle(job: Job, now: float, answers: RecipientReplies) -> Job:
    """The server answered; an answer about a recipient that has one already changes nothing."""
    recipients = tuple([_answered(recipient, answers) for recipient in job.recipients])
    new = replace(_without_doubt(job), recipients=recipients, reply=answers.reply or job.reply, next_attempt=None)
    if new.waiting:
        new = replace(new, cause=answers.cause, sentence=answers.sentence)
        if answers.until is None:
            # A further transaction is no further attempt.
            return _move("continue", replace(new, attempts=max(new.attempts - 1, 0)), now)
        return _move("defer", replace(new, next_attempt=answers.until), now)
    refused = [recipient for recipient in recipients if recipient.state == "refused"]
    cause = answers.cause or (refused[0].cause if refused else None)
    new = replace(new, cause=cause, sentence=answers.sentence or _refusals(refused, len(recipients)))
    return _move("deliver" if len(refused) < len(recipients) else "fail", new, now)


def defer(job: Job, now: float, failure: Failure, until: float) -> Job:
    """The recipients that wait are tried later."""
    return _move("defer", replace(_failed(job, failure), next_attempt=until), now)


def fail(job: Job, now: float, failure: Failure) -> Job:
    """It is given up."""
    return _move("fail", _failed(job, failure), now)


def hold(job: Job, now: float, failure: Failure) -> Job:
    """Its record must be seen to first."""
    return _move("hold", _failed(job, failure), now)


def suspend(job: Job, now: float, failure: Failure, until: float | None) -> Job:
    """An attempt of another job failed on behalf of this one, too; `until` None holds it."""
    new = hold(job, now, failure) if until is None else defer(job, now, failure, until)
    return replace(new, attempts=max(job.attempts, 1))


def release(job: Job, now: float) -> Job:
    """Its record works again; while the job was held, its time stood still."""
    if job.state == "held" and job.expires_at is not None:
        job = replace(job, expires_at=job.expires_at + max(now - job.changed_at, 0.0))
    return _move("release", replace(job, next_attempt=None), now)


def cancel(job: Job, now: float) -> Job:
    """A person does not want it sent."""
    return _move("cancel", job, now)


def retry(job: Job, now: float, lifetime: float) -> Job:
    """A person has it sent again: who accepted it is left out, and who refused it is asked again.

    Where somebody still waits for an answer, only those are asked.
    """
    recipients = job.recipients
    if not job.waiting:
        recipients = tuple([Recipient(each.address) if each.state == "refused" else each for each in recipients])
    new = replace(job, recipients=recipients, attempts=0, next_attempt=None, cause=None, sentence="", reply="")
    return _move("retry", replace(new, expires_at=now + lifetime), now)


def _move(event: Event, job: Job, now: float) -> Job:
    """Return a job, changed already but for its state, with the state that `event` leads to."""
    state = next_state(event, job.state, job.id, delivering=job.delivering)
    return replace(job, state=state, changed_at=now, delivering=event == "hand_over")


def _failed(job: Job, failure: Failure) -> Job:
    return replace(
        _without_doubt(job),
        cause=failure.cause,
        sentence=failure.sentence,
        reply=failure.reply or job.reply,
        next_attempt=None,
    )


def _answered(recipient: Recipient, answers: RecipientReplies) -> Recipient:
    if recipient.state != "waiting":
        return recipient
    if recipient.address in answers.accepted:
        return replace(recipient, state="accepted", reply=answers.reply, cause=None)
    if answers.refused and (refusal := answers.refused.get(recipient.address)) is not None:
        return replace(recipient, state="refused", reply=refusal.reply, cause=refusal.cause)
    return recipient


def _without_doubt(job: Job) -> Job:
    """Return a job with the doubt gone that it was in until now."""
    return replace(job, doubts=job.doubts - 1) if job.state == "in_doubt" and job.doubts else job


def _refusals(refused: Collection[Recipient], of: int) -> str:
    if not refused:
        return ""
    shown = ", ".join(f"{each.address} ({each.reply})" if each.reply else each.address for each in [*refused][:_SHOWN])
    more = f" and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
    return f"{len(refused)} of {of} recipients refused: {shown}{more}."
