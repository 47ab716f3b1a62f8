"""The table of transitions, and the effect of replies on a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import InputError
from mailslot.spool import transitions
from mailslot.spool.job import (
    STATES,
    TRANSITIONS,
    UNFINISHED,
    Event,
    Job,
    Recipient,
    RecipientRefusal,
    State,
    next_state,
)
from mailslot.spool.transitions import AttemptFailure, RecipientReplies, apply_replies, retry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EVENTS: tuple[Event, ...] = get_args(Event)
ADDRESSES = [f"{name}@example.com" for name in "abcdef"]


def job(recipients: Sequence[Recipient], state: State = "in_doubt") -> Job:
    return Job(
        id=1,
        pipeline="scan",
        via="smtp",
        state=state,
        sender="s@example.com",
        recipients=tuple(recipients),
        subject="",
        size=1,
        created_at=0.0,
        changed_at=0.0,
        attempts=1,
        doubts=1,
        next_attempt=None,
        expires_at=None,
        cause=None,
        sentence="",
        reply="",
        message_id="",
        notes={},
        eight_bit=False,
        smtputf8=False,
    )


def reachable(start: State, *, without: frozenset[Event] = frozenset()) -> set[State]:
    reached, ahead = set[State](), [start]
    while ahead:
        state = ahead.pop()
        if state not in reached:
            reached.add(state)
            ahead += [to for event, to in TRANSITIONS[state].items() if event not in without]
    return reached


def test_every_state_and_event_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(STATES) == set(get_args(State))
    assert {event for events in TRANSITIONS.values() for event in events} == set(EVENTS)
    assert reachable("queued") == set(STATES)


def test_forbidden_transitions() -> None:
    for state, events in TRANSITIONS.items():
        for event, to in events.items():
            # Nothing is sent that no session had, and nothing in doubt is tried again but as somebody says.
            assert to != "sent" or state in {"sending", "in_doubt"}
            assert to != "sending" or event == "claim"
            assert not (state == "in_doubt" and event in {"claim", "requeue", "release", "cancel"})
            assert not (state == "sending" and event == "cancel")
    assert not TRANSITIONS["sent"]
    assert not TRANSITIONS["cancelled"]
    people = frozenset[Event]({"retry"})
    for state in ("sent", "failed", "cancelled"):
        assert reachable(state, without=people) == {state}
    for state in UNFINISHED:
        assert reachable(state) & {"sent", "failed", "cancelled"}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", EVENTS)
def test_missing_transitions_are_refused_with_a_sentence(state: State, event: Event) -> None:
    if event in TRANSITIONS[state]:
        assert next_state(event, state, 7) == TRANSITIONS[state][event]
        return
    with pytest.raises(InputError, match=r"^Job 7 [a-z ,:]+\.$") as caught:
        next_state(event, state, 7)
    assert caught.value.cause == "job_state"
    assert caught.value.stage == "spool"


def test_cancelling_too_late_is_explained() -> None:
    with pytest.raises(InputError, match="is being sent at this moment and cannot be cancelled"):
        next_state("cancel", "sending", 1)
    with pytest.raises(InputError, match="whose answer never came: nobody can know"):
        next_state("cancel", "in_doubt", 1)
    with pytest.raises(InputError, match="Job 1 was sent and cannot be cancelled"):
        next_state("cancel", "sent", 1)


FAILURE = AttemptFailure("server_busy", "Busy.")
STEPS: dict[Event, Callable[[Job, float], Job]] = {
    "claim": transitions.claim,
    "requeue": transitions.requeue,
    "hand_over": transitions.hand_over,
    "abandon": transitions.abandon,
    "deliver": lambda job, now: apply_replies(job, now, RecipientReplies(accepted=ADDRESSES)),
    "continue": lambda job, now: apply_replies(job, now, RecipientReplies()),
    "defer": lambda job, now: transitions.defer(job, now, FAILURE, 100.0),
    "fail": lambda job, now: transitions.fail(job, now, FAILURE),
    "hold": lambda job, now: transitions.hold(job, now, FAILURE),
    "cancel": transitions.cancel,
    "retry": lambda job, now: retry(job, now, lifetime=100.0),
    "release": transitions.release,
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", EVENTS)
def test_each_transition_is_a_row_of_the_table(state: State, event: Event) -> None:
    before = job([Recipient("a@example.com")], state)
    if event not in TRANSITIONS[state]:
        with pytest.raises(InputError):
            STEPS[event](before, 50.0)
        return
    after = STEPS[event](before, 50.0)
    assert (after.state, after.changed_at) == (TRANSITIONS[state][event], 50.0)
    assert after.delivering == (event == "hand_over")


recipients = st.lists(st.sampled_from(ADDRESSES), min_size=1, unique=True).flatmap(
    lambda addresses: st.tuples(
        *[
            st.sampled_from(["waiting", "accepted", "refused"]).map(lambda s, a=a: Recipient(a, s, f"was {s}"))
            for a in addresses
        ]
    )
)


@given(
    recipients,
    st.sets(st.sampled_from(ADDRESSES)),
    st.dictionaries(st.sampled_from(ADDRESSES), st.builds(RecipientRefusal, st.just("550 no"))),
    st.none() | st.just(100.0),
)
def test_recording_replies(
    before: tuple[Recipient, ...], accepted: set[str], refused: dict[str, RecipientRefusal], until: float | None
) -> None:
    new = apply_replies(job(before), 50.0, RecipientReplies(accepted, refused, "250 ok", until))
    assert new.doubts == 0
    assert new.changed_at == 50.0
    for old, now in zip(before, new.recipients, strict=True):
        if old.state != "waiting":
            assert now == old
        elif old.address in accepted:
            assert (now.state, now.reply) == ("accepted", "250 ok")
        elif old.address in refused:
            assert (now.state, now.reply, now.cause) == ("refused", "550 no", "recipient_refused")
        else:
            assert now == old
    if new.waiting:
        assert new.state == ("queued" if until is None else "deferred")
        assert new.next_attempt == until
    else:
        assert new.state == ("sent" if any(each.state == "accepted" for each in new.recipients) else "failed")
        refusals = [each for each in new.recipients if each.state == "refused"]
        assert bool(new.sentence) == bool(refusals)
        assert all(each.address in new.sentence for each in refusals[:5])


@given(recipients)
def test_resending(before: tuple[Recipient, ...]) -> None:
    new = retry(job(before, "failed"), 50.0, lifetime=100.0)
    assert (new.state, new.expires_at) == ("queued", 150.0)
    assert new.attempts == 0
    for old, now in zip(before, new.recipients, strict=True):
        assert (now.state == "accepted") == (old.state == "accepted")
        if old.state == "refused":
            assert (now.state == "refused") == any(each.state == "waiting" for each in before)
