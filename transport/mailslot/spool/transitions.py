"""The effect of each event on a job, as pure functions from a job and the time to the changed job.

`mailslot.spool.job.TRANSITIONS` has the next states; this module has what else changes. Every function may raise what
`mailslot.spool.job.next_state` raises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mailslot.spool.job import Event, Job, Recipient, RecipientRefusal, next_state

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_SHOWN: Final = 5
_AWAITING_REPLY: Final = (
    "The whole message was handed over, and the mail server's answer is awaited; without it, it may arrive twice."
)
_IN_DOUBT: Final = "The whole message was handed over, and the answer never came; it may arrive twice."


@dataclass(frozen=True, slots=True)
class RecipientReplies:
    """The replies to the recipients of a transaction; see `mailslot.spool.spool.Spool.record_replies`."""

    accepted: Collection[str] = ()
    refused: Mapping[str, RecipientRefusal] | None = None
    reply: str = ""
    until: float | None = None
    cause: str | None = None
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class AttemptFailure:
    """Why an attempt failed for all recipients.

    Attributes:
        cause: the id of its cause.
        sentence: the cause in one sentence.
        reply: the server's reply; empty if there was none.
    """

    cause: str
    sentence: str
    reply: str = ""


def claim(job: Job, now: float) -> Job:
    """Begin an attempt."""
    return _move("claim", replace(job, attempts=job.attempts + 1, next_attempt=None), now)


def requeue(job: Job, now: float) -> Job:
    """Requeue a job that was not sent; the attempt does not count."""
    return _move("requeue", replace(job, attempts=max(job.attempts - 1, 0)), now)


def hand_over(job: Job, now: float) -> Job:
    """Set the job in doubt, since the end of the message is about to be sent."""
    return _move("hand_over", replace(job, doubts=job.doubts + 1, cause="in_doubt", sentence=_AWAITING_REPLY), now)


def abandon(job: Job, now: float) -> Job:
    """Stop awaiting the reply; the job stays in doubt."""
    return _move("abandon", replace(job, sentence=_IN_DOUBT), now)


def reclaim(job: Job, now: float) -> Job:
    """Take the job back from a delivery that has died: requeue it, or leave it in doubt."""
    if job.state == "sending":
        # The attempt counts: a job that crashes the process must not be tried forever.
        return _move("requeue", job, now)
    return abandon(job, now) if job.delivering else job


def apply_replies(job: Job, now: float, replies: RecipientReplies) -> Job:
    """Apply the server's replies; a recipient that has a reply already does not change."""
    recipients = tuple([_with_reply(recipient, replies) for recipient in job.recipients])
    new = replace(_without_doubt(job), recipients=recipients, reply=replies.reply or job.reply, next_attempt=None)
    if new.waiting:
        new = replace(new, cause=replies.cause, sentence=replies.sentence)
        if replies.until is None:
            # A further transaction does not count as an attempt.
            return _move("continue", replace(new, attempts=max(new.attempts - 1, 0)), now)
        return _move("defer", replace(new, next_attempt=replies.until), now)
    refused = [recipient for recipient in recipients if recipient.state == "refused"]
    cause = replies.cause or (refused[0].cause if refused else None)
    new = replace(new, cause=cause, sentence=replies.sentence or _refusal_sentence(refused, len(recipients)))
    return _move("deliver" if len(refused) < len(recipients) else "fail", new, now)


def defer(job: Job, now: float, failure: AttemptFailure, until: float) -> Job:
    """Defer the waiting recipients."""
    return _move("defer", replace(_with_failure(job, failure), next_attempt=until), now)


def fail(job: Job, now: float, failure: AttemptFailure) -> Job:
    """Fail the job."""
    return _move("fail", _with_failure(job, failure), now)


def hold(job: Job, now: float, failure: AttemptFailure) -> Job:
    """Hold the job until its record works again."""
    return _move("hold", _with_failure(job, failure), now)


def suspend(job: Job, now: float, failure: AttemptFailure, until: float | None) -> Job:
    """Hold the job, or defer it if `until` is given, since an attempt of another job of its record failed."""
    new = hold(job, now, failure) if until is None else defer(job, now, failure, until)
    return replace(new, attempts=max(job.attempts, 1))


def release(job: Job, now: float) -> Job:
    """Queue the job, since its record works again; the time for which it was held does not count."""
    if job.state == "held" and job.expires_at is not None:
        job = replace(job, expires_at=job.expires_at + max(now - job.changed_at, 0.0))
    return _move("release", replace(job, next_attempt=None), now)


def cancel(job: Job, now: float) -> Job:
    """Cancel the job at a person's request."""
    return _move("cancel", job, now)


def retry(job: Job, now: float, lifetime: float) -> Job:
    """Queue the job again at a person's request.

    It is sent to the waiting recipients, or to those that refused if none is waiting, but never to those that accepted.
    """
    recipients = job.recipients
    if not job.waiting:
        recipients = tuple([Recipient(each.address) if each.state == "refused" else each for each in recipients])
    new = replace(job, recipients=recipients, attempts=0, next_attempt=None, cause=None, sentence="", reply="")
    return _move("retry", replace(new, expires_at=now + lifetime), now)


def _move(event: Event, job: Job, now: float) -> Job:
    """Return a job, otherwise changed already, with the state that `event` leads to."""
    state = next_state(event, job.state, job.id, delivering=job.delivering)
    return replace(job, state=state, changed_at=now, delivering=event == "hand_over")


def _with_failure(job: Job, failure: AttemptFailure) -> Job:
    return replace(
        _without_doubt(job),
        cause=failure.cause,
        sentence=failure.sentence,
        reply=failure.reply or job.reply,
        next_attempt=None,
    )


def _with_reply(recipient: Recipient, replies: RecipientReplies) -> Recipient:
    if recipient.state != "waiting":
        return recipient
    if recipient.address in replies.accepted:
        return replace(recipient, state="accepted", reply=replies.reply, cause=None)
    if replies.refused and (refusal := replies.refused.get(recipient.address)) is not None:
        return replace(recipient, state="refused", reply=refusal.reply, cause=refusal.cause)
    return recipient


def _without_doubt(job: Job) -> Job:
    """Return a job with its current doubt removed from the count."""
    return replace(job, doubts=job.doubts - 1) if job.state == "in_doubt" and job.doubts else job


def _refusal_sentence(refused: Collection[Recipient], of: int) -> str:
    if not refused:
        return ""
    shown = ", ".join(f"{each.address} ({each.reply})" if each.reply else each.address for each in [*refused][:_SHOWN])
    more = f" and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
    return f"{len(refused)} of {of} recipients refused: {shown}{more}."
