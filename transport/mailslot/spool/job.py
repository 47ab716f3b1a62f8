"""The state machine of a job.

Rule: everything that affects the state machine is in `TRANSITIONS`. A job is accepted once its message and its row are
on the disk. From then on it is in exactly one state, whatever happens to the process. Three rules shaped the table.

* If a process dies in `sending`, the end of the message was not sent, so the job is requeued.
* `in_doubt` is written to the disk before the last octet of the message is sent. It ends by the server's reply, by a
  person, or once by the pipeline's retry schedule, if that prefers a duplicate to a loss. While a delivery awaits the
  reply (`Job.delivering`), only that delivery can change the job.
* Final states do not change, except that a person can retry a failed job.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

State = Literal["queued", "sending", "sent", "deferred", "in_doubt", "failed", "cancelled", "held"]
"""`queued`: due now. `sending`: being sent. `deferred`: due later. `held`: its record needs attention first.
`in_doubt`: the whole message was sent, or was about to be, and the reply is unknown. The others are final."""

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

`claim`: delivery begins. `requeue`: it stopped before the message was sent. `hand_over`: the end of the message is
about to be sent. `abandon`: the reply is no longer awaited. `deliver`: every recipient has a reply, and at least one
accepted. `continue`: some recipients need a further transaction. `defer`: the remaining recipients are tried later.
`fail`: it ends without delivery. `hold`: its record needs attention. `cancel`, `retry`: requested by a person.
`release`: its record works again.
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
"""The note with the DSN events to request, such as ``"SUCCESS,FAILURE"`` or ``"NEVER"`` (RFC 3461)."""

ENVELOPE_ID: Final = "envelope_id"
"""The note with the envelope id for such reports."""

CONFIRMATION_NOTE: Final = "confirmation"
"""The note with what reports say about the whole job, such as ``"delivered"`` or ``"failed"``, if they were requested
or have arrived."""

DEVICE_NOTE: Final = "device"
"""The note with the name of the device that handed over the message."""

UNFINISHED: Final[frozenset[State]] = frozenset({"queued", "sending", "deferred", "in_doubt", "held"})
"""The states that count as waiting."""

_FORBIDDEN_PHRASES: Final[Mapping[tuple[Event, State], str]] = {
    ("cancel", "sending"): "is being sent at this moment and cannot be cancelled",
    ("cancel", "in_doubt"): (
        "was handed to the mail server, whose answer never came: nobody can know whether it can still be stopped, "
        "so it cannot be cancelled"
    ),
    ("retry", "queued"): "is waiting to be sent already",
    ("retry", "sending"): "is being sent at this moment",
}

_AWAITING_REPLY: Final = "was handed to the mail server, whose answer is awaited at this moment, so it cannot be"

_STATE_PHRASES: Final[Mapping[State, str]] = {
    "queued": "is waiting",
    "sending": "is being sent",
    "sent": "was sent",
    "deferred": "waits for its next attempt",
    "in_doubt": "may have been sent",
    "failed": "has failed",
    "cancelled": "was cancelled",
    "held": "is held",
}

_EVENT_PHRASES: Final[Mapping[Event, str]] = {
    "cancel": "cancelled",
    "retry": "sent again",
    "claim": "taken up",
    "hold": "held",
}


class DeliveringError(InputError):
    """The job is being delivered, so nobody else may change it."""


def next_state(event: Event, state: State, job_id: int, *, delivering: bool = False) -> State:
    """Return the state that `event` leads to.

    Args:
        event: the event.
        state: the job's state.
        job_id: the job's id.
        delivering: whether a delivery awaits the reply for it.

    Raises:
        InputError: there is no such transition; the sentence tells the job's state. It is a `DeliveringError` if there
            is none only because the job is being delivered.
    """
    if delivering and event in {"cancel", "retry"}:
        raise _delivering_error(event, state, job_id, f"{_AWAITING_REPLY} {_EVENT_PHRASES[event]}")
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        predicate = (
            _FORBIDDEN_PHRASES.get((event, state))
            or f"{_STATE_PHRASES[state]} and cannot be {_EVENT_PHRASES.get(event, 'changed')}"
        )
        if state == "sending" and event in {"cancel", "retry"}:
            raise _delivering_error(event, state, job_id, predicate) from None
        raise InputError(
            f"Job {job_id} {predicate}.", stage="spool", cause="job_state", detail=f"{event} in state {state}"
        ) from None


def _delivering_error(event: Event, state: State, job_id: int, predicate: str) -> DeliveringError:
    detail = f"{event} in state {state}, which a delivery holds"
    return DeliveringError(f"Job {job_id} {predicate}.", stage="spool", cause="job_state", detail=detail)


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a job.

    Attributes:
        address: the address, as the pipeline gave it.
        state: `accepted` and `refused` are final within an attempt; `waiting` recipients are still to be sent to.
        reply: the server's reply to this recipient, or to the whole message.
        cause: an id of the catalogue of causes, if it was refused.
    """

    address: str
    state: RecipientState = "waiting"
    reply: str = ""
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class RecipientRefusal:
    """Why a recipient was refused: the server's reply, and the id of its cause."""

    reply: str
    cause: str = "recipient_refused"


@dataclass(frozen=True, slots=True)
class Job:
    """A snapshot of a job. Times are in seconds since 1970.

    Attributes:
        id: its id, never reused.
        pipeline: the pipeline that submitted it, such as ``"scan"``.
        via: the record through which it is sent, such as ``"smtp"``.
        state: its state.
        sender: the envelope's sender.
        recipients: the envelope's recipients.
        subject: the subject, for display.
        size: the message's octets.
        created_at: when it was accepted.
        changed_at: when its state last changed.
        attempts: how often delivery has begun since it was accepted or retried by a person.
        doubts: how often it became in doubt without a later reply; if over 0, it may arrive twice.
        next_attempt: when it is due, if it is deferred, or in doubt and to be submitted again.
        expires_at: when it expires; None for never.
        cause: the id of the cause of its last failure.
        sentence: that failure in one sentence.
        reply: the server's last reply about it.
        message_id: the message's identifier, ``<…@…>``; may be empty.
        notes: what its pipeline needs to know later.
        eight_bit: whether the message contains octets over 127.
        smtputf8: whether its header contains them.
        delivering: whether a delivery has sent it and awaits the reply, in state `in_doubt`.
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
        """The addresses that are still to be sent to."""
        return tuple(each.address for each in self.recipients if each.state == "waiting")

    def is_delayed(self, now: float = 0.0) -> bool:
        """Whether it was accepted to be sent later, so that it does not matter yet whether its record works.

        Args:
            now: the time; without it, a job that has become due counts until it is attempted.
        """
        return (
            self.state == "deferred"
            and self.attempts == 0
            and self.cause is None
            and self.next_attempt is not None
            and self.next_attempt > now
        )


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be accepted.

    Attributes:
        pipeline: the pipeline that submits it.
        via: the record through which it is sent.
        sender: the envelope's sender; ``""`` for the null sender.
        recipients: the envelope's recipients.
        subject: the subject, for display.
        lifetime: the seconds after which it expires; None for the maximum.
        key: an idempotency key: accepting the same key of a pipeline again returns the existing job.
        notes: what the pipeline needs to know later; `NOTIFY` and `ENVELOPE_ID` are also sent to the mail server.
        message_id: the message's identifier; empty to take it from the message.
        send_at: when it is due for the first time, in seconds since 1970; None for now. Its lifetime begins then.
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
    send_at: float | None = None
