"""The states of a job and what moves it from one to another: all of it is in this one table.

Rule: whatever affects the state machine stands here. A job is accepted once its message and its row are on the disk,
and from then on it is in exactly one state, whatever happens to the process. Three rules shaped the table.

* `sending` is left behind by a process that died, and then nothing had left: whoever delivers starts it again.
* `in_doubt` is on the disk before the octet that makes it true; what the server says ends it, or a person,
  or once, for what may come twice rather than not at all, the schedule of its pipeline. As long as a delivery waits
  for the answer (`Job.delivering`), only that delivery moves it.
* What has ended stays as it is; only a person has a job that failed sent again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

State = Literal["queued", "sending", "sent", "deferred", "in_doubt", "failed", "cancelled", "held"]
"""`queued`: due now. `sending`: a session has it. `deferred`: due later. `held`: its record needs somebody first.
`in_doubt`: the whole message was, or was about to be, handed over, and no answer is known. The rest is the end."""

RecipientState = Literal["waiting", "accepted", "refused"]

Event = Literal[
    "claim",
    "requeue",
    "hand_over",
    "abandon",
    "deliver",
    "continue",
    "defer",
    "fail",
    "hold",
    "cancel",
    "retry",
    "release",
]
"""What happens to a job.

`claim`: delivery begins. `requeue`: it broke off before anything left. `hand_over`: the end of the message is about to
leave. `abandon`: nobody waits for the answer any more. `deliver`: every recipient has its answer and one accepted.
`continue`: some still wait for a further transaction. `defer`: the rest is tried later. `fail`: it ends without
delivery. `hold`: its record must be seen to. `cancel` and `retry`: a person says so. `release`: its record works again.
"""

STATES: Final[tuple[State, ...]] = (
    "queued",
    "sending",
    "sent",
    "deferred",
    "in_doubt",
    "failed",
    "cancelled",
    "held",
)

TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = {
    "queued": {"claim": "sending", "defer": "deferred", "fail": "failed", "hold": "held", "cancel": "cancelled"},
    "sending": {
        "requeue": "queued",
        "hand_over": "in_doubt",
        "deliver": "sent",
        "continue": "queued",
        "defer": "deferred",
        "fail": "failed",
        "hold": "held",
    },
    "deferred": {
        "claim": "sending",
        "defer": "deferred",
        "fail": "failed",
        "hold": "held",
        "cancel": "cancelled",
        "retry": "queued",
        "release": "queued",
    },
    "in_doubt": {
        "abandon": "in_doubt",
        "deliver": "sent",
        "continue": "queued",
        "defer": "deferred",
        "fail": "failed",
        "hold": "held",
        "retry": "queued",
    },
    "held": {"fail": "failed", "hold": "held", "cancel": "cancelled", "retry": "queued", "release": "queued"},
    "failed": {"retry": "queued"},
    "sent": {},
    "cancelled": {},
}

NOTIFY: Final = "notify"
"""The note that says when the mail server is to report, such as ``"SUCCESS,FAILURE"`` or ``"NEVER"`` (RFC 3461)."""

ENVELOPE_ID: Final = "envelope_id"
"""The note that holds what such reports name the message by."""

UNFINISHED: Final[frozenset[State]] = frozenset({"queued", "sending", "deferred", "in_doubt", "held"})
"""The states that count as waiting."""

_NO: Final[Mapping[tuple[Event, State], str]] = {
    ("cancel", "sending"): "is being sent at this moment and cannot be cancelled",
    ("cancel", "in_doubt"): (
        "was handed to the mail server, whose answer never came: nobody can know whether it can still be stopped, "
        "so it cannot be cancelled"
    ),
    ("retry", "queued"): "is waiting to be sent already",
    ("retry", "sending"): "is being sent at this moment",
}

_AWAITED: Final = "was handed to the mail server, whose answer is awaited at this moment, so it cannot be"

_IS: Final[Mapping[State, str]] = {
    "queued": "is waiting",
    "sending": "is being sent",
    "sent": "was sent",
    "deferred": "waits for its next attempt",
    "in_doubt": "may have been sent",
    "failed": "has failed",
    "cancelled": "was cancelled",
    "held": "is held",
}

_VERBS: Final[Mapping[Event, str]] = {"cancel": "cancelled", "retry": "sent again", "claim": "taken up", "hold": "held"}


class DeliveringError(InputError):
    """A delivery holds the job, so that nobody else may move it."""


def next_state(event: Event, state: State, job_id: int, *, delivering: bool = False) -> State:
    """Return the state that `event` leads to.

    Args:
        event: what happens.
        state: the job's state.
        job_id: its number.
        delivering: whether a delivery waits for the server's answer about it.

    Raises:
        InputError: the table has no such transition; the sentence says what the job is. A `DeliveringError` where it
            has none as long as a delivery goes on.
    """
    if delivering and event in {"cancel", "retry"}:
        raise _delivering(event, state, job_id, f"{_AWAITED} {_VERBS[event]}")
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        said = _NO.get((event, state)) or f"{_IS[state]} and cannot be {_VERBS.get(event, 'changed')}"
        if state == "sending" and event in {"cancel", "retry"}:
            raise _delivering(event, state, job_id, said) from None
        raise InputError(
            f"Job {job_id} {said}.", stage="spool", cause="job_state", detail=f"{event} in state {state}"
        ) from None


def _delivering(event: Event, state: State, job_id: int, said: str) -> DeliveringError:
    detail = f"{event} in state {state}, which a delivery holds"
    return DeliveringError(f"Job {job_id} {said}.", stage="spool", cause="job_state", detail=detail)


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a job.

    Attributes:
        address: the address, as it was given.
        state: accepted and refused are final within an attempt; those that wait go on.
        reply: what the server said about it, or to the whole message.
        cause: an id of the catalogue of causes, where it was refused.
    """

    address: str
    state: RecipientState = "waiting"
    reply: str = ""
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a recipient was refused: the server's answer, and the id of its cause."""

    reply: str
    cause: str = "recipient_refused"


@dataclass(frozen=True, slots=True)
class Job:
    """A message on its way, as it was when it was read from the disk. Times are in seconds since 1970.

    Attributes:
        id: its number, never used again.
        pipeline: who accepted it, such as ``"scan"``.
        via: the record that it leaves through, such as ``"smtp"``.
        state: where it is.
        sender: the envelope's sender.
        recipients: the envelope's recipients.
        subject: what people know it by.
        size: the message's octets.
        created_at: when it was accepted.
        changed_at: when its state last changed.
        attempts: how often delivery has begun since it was accepted or a person had it sent again.
        doubts: how often it came into doubt and no answer ended that; over 0, it may arrive twice.
        next_attempt: when it is due, where it is deferred, or in doubt and submitted once more.
        expires_at: when it is given up; None for never.
        cause: the id of the cause of its last trouble.
        sentence: that trouble in one sentence.
        reply: the server's last words about it.
        message_id: the message's identifier, ``<…@…>``; may be empty.
        notes: what its pipeline wants to know later.
        eight_bit: whether the message holds octets over 127.
        smtputf8: whether its header does.
        delivering: whether a delivery has handed it over and waits for the answer, in state `in_doubt`.
    """

    id: int
    pipeline: str
    via: str
    state: State
    sender: str
    recipients: tuple[Recipient, ...]
    subject: str
    size: int
    created_at: float
    changed_at: float
    attempts: int
    doubts: int
    next_attempt: float | None
    expires_at: float | None
    cause: str | None
    sentence: str
    reply: str
    message_id: str
    notes: Mapping[str, str]
    eight_bit: bool
    smtputf8: bool
    delivering: bool = False

    @property
    def waiting(self) -> tuple[str, ...]:
        """The addresses that still wait for an answer."""
        return tuple(each.address for each in self.recipients if each.state == "waiting")


@dataclass(frozen=True, slots=True)
class NewJob:
    """What is to become a job.

    Attributes:
        pipeline: who accepts it.
        via: the record that it leaves through.
        sender: the envelope's sender; ``""`` for the null sender.
        recipients: the envelope's recipients, each once.
        subject: what people know it by.
        lifetime: the seconds after which it is given up; None for as long as the spool keeps anything.
        key: accepting the same key of the same pipeline again gives the job that is there.
        notes: what the pipeline wants to know later; `NOTIFY` and `ENVELOPE_ID` are for the mail server, too.
        message_id: the message's identifier; empty to take it from the message, where that has one.
    """

    pipeline: str
    via: str
    sender: str
    recipients: Sequence[str]
    subject: str = ""
    lifetime: float | None = None
    key: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict[str, str])
    message_id: str = ""
