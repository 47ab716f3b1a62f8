"""Any sequence of operations on jobs: the disk agrees with the table, also after a crash."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mailslot import InputError
from mailslot.spool.job import TRANSITIONS, UNFINISHED, Event, RecipientRefusal, State
from mailslot.spool.spool import Spool
from spool.conftest import MESSAGE, Clock, files, message, new, octets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.spool.job import Job

T = TypeVar("T")

ADDRESSES = ("a@example.com", "b@example.com", "c@example.com")
VIAS = ("smtp", "alert-smtp")


class Jobs(RuleBasedStateMachine):
    """A spool beside a model of it; each step is a process of its own that opens the spool anew."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="mailslot-spool-")
        self.home = Path(self.folder.name) / "home"
        self.clock = Clock()
        self.states: dict[int, State] = {}
        self.recipients: dict[int, dict[str, str]] = {}
        self.accepted = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    def step(self, work: Callable[[Spool], Awaitable[T]]) -> T:
        async def run() -> T:
            async with Spool(self.home, clock=self.clock) as spool, spool.delivery_lock():
                return await work(spool)

        return anyio.run(run)

    def attempt(self, event: Event, job_id: int, work: Callable[[Spool], Awaitable[Job]]) -> None:
        """Let something happen; the table says whether it may."""
        before = self.states[job_id]
        if event not in TRANSITIONS[before]:
            with pytest.raises(InputError) as caught:
                self.step(work)
            assert caught.value.cause == "job_state"
        else:
            self.states[job_id] = self.step(work).state
            assert self.states[job_id] == TRANSITIONS[before][event]

    def pick(self, data: st.DataObject) -> int | None:
        return data.draw(st.sampled_from(sorted(self.states))) if self.states else None

    @rule(via=st.sampled_from(VIAS), count=st.integers(1, 3))
    def accept(self, via: str, count: int) -> None:
        job = self.step(lambda spool: spool.accept(new(*ADDRESSES[:count], via=via), message()))
        self.accepted += 1
        assert job.id == self.accepted
        self.states[job.id] = "queued"
        self.recipients[job.id] = dict.fromkeys(ADDRESSES[:count], "waiting")

    @rule(via=st.sampled_from(VIAS))
    def claim(self, via: str) -> None:
        job = self.step(lambda spool: spool.claim(via))
        if job is None:
            return
        assert self.states[job.id] in {"queued", "deferred"}
        assert job.via == via
        self.states[job.id] = "sending"

    @rule(data=st.data(), event=st.sampled_from(["requeue", "hand_over", "cancel", "defer", "fail", "hold"]))
    def happen(self, data: st.DataObject, event: Event) -> None:
        if (job_id := self.pick(data)) is None:
            return
        works: dict[str, Callable[[Spool], Awaitable[Job]]] = {
            "requeue": lambda spool: spool.requeue(job_id),
            "hand_over": lambda spool: spool.hand_over(job_id),
            "cancel": lambda spool: spool.cancel(job_id),
            "defer": lambda spool: spool.defer(job_id, self.clock.now + 100, "server_busy", "Busy."),
            "fail": lambda spool: spool.fail(job_id, "content_refused", "No."),
            "hold": lambda spool: spool.hold(job_id, "token_update_failed", "Obtain the token again."),
        }
        self.attempt(event, job_id, works[event])

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        if (job_id := self.pick(data)) is None:
            return
        self.attempt("retry", job_id, lambda spool: spool.retry(job_id))
        recipients = self.recipients[job_id]
        if self.states[job_id] == "queued" and "waiting" not in recipients.values():
            recipients.update({address: "waiting" for address, state in recipients.items() if state == "refused"})

    @rule(data=st.data(), again=st.booleans())
    def settle(self, data: st.DataObject, again: bool) -> None:
        if (job_id := self.pick(data)) is None:
            return
        answers = {address: data.draw(st.sampled_from(["accepted", "refused", "waiting"])) for address in ADDRESSES}
        after = {a: answers[a] if s == "waiting" else s for a, s in self.recipients[job_id].items()}
        if "waiting" in after.values():
            event: Event = "continue" if again else "defer"
        else:
            event = "deliver" if "accepted" in after.values() else "fail"
        before = self.states[job_id]
        self.attempt(
            event,
            job_id,
            lambda spool: spool.record_replies(
                job_id,
                accepted=[a for a in ADDRESSES if answers[a] == "accepted"],
                refused={a: RecipientRefusal("550 no") for a in ADDRESSES if answers[a] == "refused"},
                until=None if again else self.clock.now + 100,
            ),
        )
        if event in TRANSITIONS[before]:
            self.recipients[job_id] = after

    @rule(via=st.sampled_from(VIAS))
    def release(self, via: str) -> None:
        async def work(spool: Spool) -> list[int]:
            found = await spool.jobs(states=["held", "deferred"])
            waiting = [job.id for job in found if job.via == via and not job.is_delayed(self.clock.now)]
            assert await spool.release(via) == len(waiting)
            return waiting

        for job_id in self.step(work):
            self.states[job_id] = "queued"

    @rule(seconds=st.sampled_from([10.0, 200.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def crash(self) -> None:
        """Each step ends without a word to the next; what was being sent is then queued."""
        recovered = self.step(lambda spool: spool.recover())
        sending = {job_id for job_id, state in self.states.items() if state == "sending"}
        assert set(recovered.requeued) == sending
        assert recovered.failed == ()
        self.states.update(dict.fromkeys(sending, "queued"))

    @invariant()
    def the_disk_says_the_same(self) -> None:
        if not self.states:
            return

        async def work(spool: Spool) -> None:
            jobs = {job.id: job for job in await spool.jobs(limit=1000)}
            assert {job.id: job.state for job in jobs.values()} == self.states
            kept = [job for job in jobs.values() if job.state in UNFINISHED | {"failed"}]
            for job in jobs.values():
                assert {each.address: each.state for each in job.recipients} == self.recipients[job.id]
                assert job.state != "sent" or "accepted" in self.recipients[job.id].values()
            for job in kept:
                assert await octets(spool.content(job)) == MESSAGE
            assert len(files(self.home)) == len(kept)

        self.step(work)


Jobs.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_jobs = Jobs.TestCase
