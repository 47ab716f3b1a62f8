"""Claimed once, in doubt before it can be, and what people may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot import InputError
from mailslot.spool.errors import SpoolError
from mailslot.spool.job import DEVICE_NOTE, ENVELOPE_ID, RecipientRefusal
from mailslot.spool.spool import Spool
from mailslot.spool.transitions import RecipientReplies
from spool.conftest import NOON, Clock, files, message, new

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(autouse=True)
async def delivering(spool: Spool) -> AsyncIterator[None]:
    async with spool.delivery_lock():
        yield


async def test_oldest_first_for_each_record(spool: Spool) -> None:
    for via in ("smtp", "alert-smtp", "smtp"):
        await spool.accept(new(via=via), message())
    first, second = await spool.claim("smtp"), await spool.claim("smtp")
    assert first is not None
    assert second is not None
    assert (first.id, first.state, first.attempts) == (1, "sending", 1)
    assert second.id == 3
    assert await spool.claim("smtp") is None
    assert await spool.first_due_times() == {"alert-smtp": 0.0}
    third = await spool.claim("alert-smtp")
    assert third is not None
    assert third.id == 2
    assert await spool.first_due_times() == {}


async def test_deferred_jobs_are_due_later(spool: Spool, clock: Clock) -> None:
    job = await spool.accept(new(), message())
    await spool.claim("smtp")
    job = await spool.defer(job.id, NOON + 300, "server_busy", "The server is busy.", "421 busy")
    assert (job.state, job.next_attempt, job.cause, job.sentence, job.reply) == (
        "deferred",
        NOON + 300,
        "server_busy",
        "The server is busy.",
        "421 busy",
    )
    assert await spool.first_due_times() == {"smtp": NOON + 300}
    assert await spool.claim("smtp", NOON + 299) is None
    claimed = await spool.claim("smtp", NOON + 300)
    assert claimed is not None
    assert (claimed.attempts, claimed.next_attempt) == (2, None)


async def test_jobs_that_a_report_may_be_about(spool: Spool) -> None:
    first, second, third = [
        await spool.accept(new(message_id=name, notes={ENVELOPE_ID: f"e-{number}"}), message())
        for number, name in enumerate(("<a@b>", "<a@b>", "<c@d>"))
    ]
    assert await spool.sent_as({"e-0"}, {"<c@d>"}) == [first], "an envelope id is unique"
    assert await spool.sent_as({"none\udcff"}, {"<a@b>", "<c@d>", "'"}) == [third, second, first]
    assert await spool.sent_as(set(), set()) == []


async def test_jobs_that_owners_are_told_about_in_pages(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailslot.spool.spool._PAGE", 2)
    jobs = [await spool.accept(new(), message()) for _ in range(5)]
    await spool.accept(new(send_at=NOON + 60), message())
    assert [job async for job in spool.undelivered("scan", accepted_before=NOON + 1)] == jobs


async def test_delayed_jobs_wait_for_their_time_whatever_happens_to_their_record(spool: Spool, clock: Clock) -> None:
    at = NOON + 3600
    job = await spool.accept(new(send_at=at, lifetime=60), message())
    assert (job.state, job.attempts, job.next_attempt, job.expires_at) == ("deferred", 0, at, at + 60)
    assert await spool.suspend("smtp", "token_update_failed", "The token is dead.") == 0
    assert await spool.suspend("smtp", "server_busy", "The server is busy.", until=NOON + 9000) == 0
    assert await spool.release("smtp") == 0
    assert [job async for job in spool.undelivered("scan", accepted_before=NOON + 1)] == []
    assert await spool.first_due_times() == {"smtp": at}
    assert await spool.claim("smtp", at - 1) is None
    clock.now = at
    assert await spool.suspend("smtp", "token_update_failed", "The token is dead.") == 1
    assert await spool.release("smtp") == 1
    claimed = await spool.claim("smtp")
    assert claimed is not None
    assert (claimed.id, claimed.attempts) == (job.id, 2)


async def test_a_person_may_send_a_delayed_job_now_or_cancel_it(spool: Spool) -> None:
    first = await spool.accept(new(send_at=NOON + 3600), message())
    second = await spool.accept(new(send_at=NOON + 3600), message())
    assert (await spool.retry(first.id)).state == "queued"
    assert (await spool.cancel(second.id)).state == "cancelled"
    assert (await spool.accept(new(send_at=NOON - 1), message())).state == "queued"


async def test_a_clock_set_back_delays_nothing(spool: Spool, clock: Clock) -> None:
    job = await spool.accept(new(), message())
    await spool.claim("smtp")
    await spool.defer(job.id, NOON + 300, "server_busy", "")
    clock.now = NOON - 1e9
    assert await spool.claim("smtp") is not None


async def test_only_the_deliverer_may_claim(home: Path, spool: Spool, clock: Clock) -> None:
    async with Spool(home, clock=clock) as other:
        with pytest.raises(RuntimeError):
            await other.claim("smtp")
        with pytest.raises(RuntimeError):
            await other.recover()
        with pytest.raises(SpoolError, match="Another process of mailslot is delivering") as caught:
            async with other.delivery_lock(timeout=0.02):
                raise AssertionError
        assert caught.value.cause == "spool_busy"
        assert caught.value.retryable


async def test_sent(spool: Spool, home: Path) -> None:
    job = await spool.accept(new("a@example.com", "b@example.com"), message())
    await spool.claim("smtp")
    job = await spool.hand_over(job.id)
    assert (job.state, job.cause, job.doubts) == ("in_doubt", "in_doubt", 1)
    assert "may arrive twice" in job.sentence
    job = await spool.record_replies(job.id, accepted=["a@example.com", "b@example.com"], reply="250 2.0.0 ok")
    assert (job.state, job.cause, job.sentence, job.reply, job.doubts) == ("sent", None, "", "250 2.0.0 ok", 0)
    assert files(home) == []
    with pytest.raises(InputError, match="was sent"):
        await spool.retry(job.id)
    with pytest.raises(SpoolError, match="not kept any more"):
        [_ async for _ in spool.content(job).chunks()]


async def test_some_recipients_are_refused(spool: Spool) -> None:
    job = await spool.accept(new("a@example.com", "b@example.com", "c@example.com"), message())
    await spool.claim("smtp")
    await spool.hand_over(job.id)
    job = await spool.record_replies(
        job.id,
        accepted=["a@example.com"],
        refused={"b@example.com": RecipientRefusal("550 5.1.1 nobody")},
        reply="250 ok",
        until=NOON + 60,
        cause="try_again_later",
        sentence="Greylisted.",
    )
    assert (job.state, job.next_attempt, job.cause, job.waiting) == (
        "deferred",
        NOON + 60,
        "try_again_later",
        ("c@example.com",),
    )
    await spool.claim("smtp", NOON + 60)
    job = await spool.record_replies(job.id, accepted=["c@example.com"], reply="250 ok")
    assert job.state == "sent"
    assert job.cause == "recipient_refused"
    assert job.sentence == "1 of 3 recipients refused: b@example.com (550 5.1.1 nobody)."


async def test_more_recipients_than_a_transaction_allows(spool: Spool) -> None:
    job = await spool.accept(new(*[f"{n}@example.com" for n in range(5)]), message())
    for start in (0, 2):
        await spool.claim("smtp")
        job = await spool.record_replies(job.id, accepted=[f"{n}@example.com" for n in (start, start + 1)])
        assert job.state == "queued"
    await spool.claim("smtp")
    assert (await spool.record_replies(job.id, accepted=["4@example.com"])).state == "sent"


async def test_all_recipients_are_refused(spool: Spool, home: Path) -> None:
    job = await spool.accept(new(), message())
    await spool.claim("smtp")
    job = await spool.record_replies(job.id, refused={"to@example.com": RecipientRefusal("552 full", "mailbox_full")})
    assert (job.state, job.cause) == ("failed", "mailbox_full")
    assert len(files(home)) == 1
    job = await spool.retry(job.id)
    assert (job.state, job.attempts, job.waiting, job.cause) == ("queued", 0, ("to@example.com",), None)


async def test_requeued(spool: Spool) -> None:
    job = await spool.accept(new(), message())
    await spool.claim("smtp")
    job = await spool.requeue(job.id)
    assert (job.state, job.attempts) == ("queued", 0)


async def test_held_until_the_record_works_again(spool: Spool) -> None:
    held, deferred, other = [await spool.accept(new(via=via), message()) for via in ("smtp", "smtp", "alert-smtp")]
    await spool.claim("smtp")
    await spool.hold(held.id, "token_update_failed", "Obtain the token again.")
    await spool.claim("smtp")
    await spool.defer(deferred.id, NOON + 9999, "server_busy", "")
    await spool.hold(other.id, "token_update_failed", "")
    assert await spool.claim("smtp", NOON + 9998) is None
    assert await spool.release("smtp") == 2
    assert [(await spool.job(n)).state for n in (1, 2, 3)] == ["queued", "queued", "held"]
    assert (await spool.job(held.id)).sentence == "Obtain the token again."
    assert await spool.release("smtp") == 0


async def test_held_jobs_do_not_age(spool: Spool, clock: Clock) -> None:
    job = await spool.accept(new(lifetime=60.0), message())
    await spool.hold(job.id, "token_update_failed", "")
    clock.now += 1000
    await spool.prune()
    await spool.release("smtp")
    assert (await spool.job(job.id)).expires_at == NOON + 1060


async def test_one_failure_suspends_all_jobs_of_the_record(spool: Spool, clock: Clock) -> None:
    for _ in range(4):
        await spool.accept(new(), message())
    await spool.defer(1, NOON + 500, "mailbox_full", "")
    await spool.claim("smtp")
    assert await spool.suspend("smtp", "connection_refused", "Nobody is there.", until=NOON + 60) == 2
    jobs = await spool.jobs()
    assert [job.state for job in jobs] == ["deferred", "deferred", "sending", "deferred"]
    assert [job.next_attempt for job in jobs] == [NOON + 60, NOON + 60, None, NOON + 500]
    assert await spool.suspend("smtp", "token_update_failed", "Obtain the token again.") == 3
    assert [job.state for job in await spool.jobs()] == ["held", "held", "sending", "held"]
    assert await spool.suspend("alert-smtp", "token_update_failed", "") == 0


async def test_a_clock_set_forward_expires_nothing(spool: Spool, clock: Clock) -> None:
    await spool.accept(new(lifetime=60.0), message())
    await spool.claim("smtp")
    await spool.defer(1, NOON + 30, "server_busy", "")
    clock.now += 1e8
    await spool.shift_times(1e8)
    await spool.prune()
    job = await spool.job(1)
    assert (job.state, job.next_attempt, job.expires_at) == ("deferred", NOON + 1e8 + 30, NOON + 1e8 + 60)


async def test_a_clock_that_was_ahead_for_a_while_expires_nothing(spool: Spool, clock: Clock) -> None:
    """The device started with a clock that was years ahead, and has learned the time since."""
    await spool.accept(new(lifetime=60.0), message())
    clock.now += 1e8
    await spool.claim("smtp")
    await spool.defer(1, clock.now + 30, "server_busy", "")
    clock.now += 10 - 1e8
    await spool.shift_times(-1e8, up=10)
    await spool.prune()
    job = await spool.job(1)
    assert (job.state, job.next_attempt, job.expires_at) == ("deferred", NOON + 30, NOON + 60)


async def test_a_job_accepted_by_a_clock_that_was_ahead_expires_in_time(spool: Spool, clock: Clock) -> None:
    clock.now += 1e8
    await spool.accept(new(lifetime=60.0), message())
    await spool.claim("smtp")
    await spool.defer(1, clock.now + 30, "server_busy", "")
    clock.now += 10 - 1e8
    await spool.shift_times(-1e8, up=10)
    job = await spool.job(1)
    assert (job.next_attempt, job.expires_at) == (NOON + 30, NOON + 60)


@pytest.mark.parametrize("seconds", [1.7e9, -1e6])
async def test_what_ended_by_a_wrong_clock_is_kept_as_long_as_else(spool: Spool, clock: Clock, seconds: float) -> None:
    """A device without a battery for its clock starts in 1970, and learns the time a little later."""
    wrong = clock.now = clock.now - seconds
    await spool.accept(new(), message())
    await spool.claim("smtp")
    await spool.fail(1, "sender_refused", "No.")
    async with spool.ledger.receive("fax-pop", "u1") as file:
        await file.write(b"Subject: a fax\r\n\r\n")
    await spool.ledger.set_aside(1, "It cannot be printed.")
    clock.now += 120 + seconds
    await spool.shift_times(seconds, up=120)
    await spool.prune()
    job, mail = await spool.job(1), await spool.ledger.mail(1)
    assert (job.changed_at, mail.path is not None) == (wrong + seconds, True)
    assert (await spool.retry(1)).state == "queued"
    await spool.cancel(1)
    clock.now += 31 * 86_400
    await spool.prune()
    assert (await spool.ledger.mail(1)).path is None
    with pytest.raises(InputError):
        await spool.job(1)


async def test_what_ended_before_a_wrong_clock_keeps_its_time(spool: Spool, clock: Clock) -> None:
    await spool.accept(new(), message())
    await spool.claim("smtp")
    await spool.fail(1, "sender_refused", "No.")
    clock.now += 10_800
    # For the last ten minutes, the clock was an hour behind.
    await spool.shift_times(3600, up=600)
    assert (await spool.job(1)).changed_at == NOON


async def test_cancelled(spool: Spool, home: Path) -> None:
    job = await spool.accept(new(), message())
    assert (await spool.cancel(job.id)).state == "cancelled"
    assert files(home) == []
    assert await spool.claim("smtp") is None
    for call in (spool.cancel, spool.retry, spool.hand_over):
        with pytest.raises(InputError, match="was cancelled"):
            await call(job.id)


async def test_too_late_to_cancel(spool: Spool) -> None:
    job = await spool.accept(new(), message())
    await spool.claim("smtp")
    with pytest.raises(InputError, match="being sent at this moment"):
        await spool.cancel(job.id)
    await spool.hand_over(job.id)
    with pytest.raises(InputError, match="whose answer is awaited at this moment, so it cannot be cancelled"):
        await spool.cancel(job.id)
    await spool.abandon(job.id)
    with pytest.raises(InputError, match="whose answer never came: nobody can know"):
        await spool.cancel(job.id)
    assert (await spool.job(job.id)).state == "in_doubt"


async def test_resent_on_request(spool: Spool, clock: Clock) -> None:
    job = await spool.accept(new("a@example.com", "b@example.com", lifetime=60.0), message())
    await spool.claim("smtp")
    await spool.hand_over(job.id)
    await spool.record_replies(job.id, accepted=["a@example.com"])
    await spool.claim("smtp")
    await spool.hand_over(job.id)
    assert await spool.claim("smtp") is None
    await spool.abandon(job.id)
    clock.now += 1000
    job = await spool.retry(job.id)
    assert (job.state, job.waiting, job.expires_at, job.doubts) == ("queued", ("b@example.com",), clock.now + 60, 1)


async def test_a_claimed_job_cannot_be_resent(home: Path, spool: Spool, clock: Clock) -> None:
    """Neither in the process that delivers nor in another, as long as that one lives; and not in another state."""
    job = await spool.accept(new(), message())
    await spool.claim("smtp")
    job = await spool.hand_over(job.id)
    assert "answer is awaited" in job.sentence
    async with Spool(home, clock=clock) as other:
        for each_spool in (spool, other):
            with pytest.raises(
                InputError, match="whose answer is awaited at this moment, so it cannot be sent"
            ) as caught:
                await each_spool.retry(job.id)
            assert caught.value.cause == "job_state"
            with pytest.raises(InputError, match="whose answer is awaited at this moment, so it cannot be cancelled"):
                await each_spool.cancel(job.id)
        assert (await other.job(job.id)).state == "in_doubt"
        job = await spool.record_replies(job.id, accepted=["to@example.com"], reply="250 ok")
        assert (job.state, job.doubts, job.delivering) == ("sent", 0, False)


async def test_an_abandoned_job_can_be_resent(spool: Spool) -> None:
    job = await spool.accept(new(), message())
    await spool.claim("smtp")
    await spool.hand_over(job.id)
    job = await spool.abandon(job.id)
    assert (job.state, job.doubts, job.delivering) == ("in_doubt", 1, False)
    assert "the answer never came" in job.sentence
    assert (await spool.retry(job.id)).state == "queued"


@pytest.mark.parametrize("state", ["sending", "in_doubt"])
async def test_a_dead_process_holds_no_claim(tmp_path: Path, clock: Clock, state: str) -> None:
    async with Spool(tmp_path, clock=clock) as spool:
        job = await spool.accept(new(), message())
        async with spool.delivery_lock():
            await spool.claim("smtp")
            if state == "in_doubt":
                await spool.hand_over(job.id)
    async with Spool(tmp_path, clock=clock) as spool:
        if state == "in_doubt":
            assert (await spool.retry(job.id)).state == "queued"
        else:
            assert (await spool.cancel(job.id)).state == "cancelled"


@pytest.mark.in_a_folder
async def test_a_job_without_message_cannot_be_resent(spool: Spool, home: Path) -> None:
    job = await spool.accept(new(), message())
    await spool.fail(job.id, "content_refused", "No.")
    (home / "spool" / files(home)[0]).unlink()
    with pytest.raises(InputError, match="not kept any more"):
        await spool.retry(job.id)
    assert (await spool.job(job.id)).state == "failed"


@pytest.mark.parametrize("number", [17, 0, 2**63 - 1, 2**63, -(2**63) - 1, 10**40])
async def test_an_unknown_job(spool: Spool, number: int) -> None:
    """Whether or not the database could have such a number."""
    for call in (spool.job, spool.cancel, spool.retry, spool.hand_over, spool.record_replies, spool.requeue):
        with pytest.raises(InputError, match=rf"^There is no job {number}\.$") as caught:
            await call(number)
        assert caught.value.cause == "unknown_job"


async def test_listing_jobs(spool: Spool) -> None:
    for n in range(6):
        await spool.accept(new(pipeline="fax" if n % 2 else "scan"), message())
    await spool.cancel(2)
    assert [job.id for job in await spool.jobs()] == [6, 5, 4, 3, 2, 1]
    assert [job.id for job in await spool.jobs(limit=2)] == [6, 5]
    assert [job.id for job in await spool.jobs(limit=2, before=5)] == [4, 3]
    assert [job.id for job in await spool.jobs(pipeline="fax", states=["queued"])] == [6, 4]
    assert await spool.jobs(states=[]) == []
    assert await spool.count_by_pipeline() == [
        ("fax", "cancelled", 1, NOON),
        ("fax", "queued", 2, NOON),
        ("scan", "queued", 3, NOON),
    ]
    assert await spool.count_by_device() == []
    for device in ("hall", "hall", "fax"):
        await spool.annotate((await spool.accept(new(pipeline="gateway"), message())).id, {DEVICE_NOTE: device})
    assert sorted(await spool.count_by_device()) == [("fax", "queued", 1, NOON), ("hall", "queued", 2, NOON)]
    for job in await spool.jobs(pipeline="gateway"):
        await spool.cancel(job.id)
    counts = await spool.count_by_state()
    assert (counts["queued"], counts["cancelled"], counts["sent"]) == (5, 4, 0)
    assert await spool.held_by_record() == {}
    await spool.suspend("smtp", "token_refused", "No.")
    assert await spool.held_by_record() == {"smtp": (5, 6)}


async def test_the_next_job_is_claimed_with_the_reply(spool: Spool) -> None:
    one = await spool.accept(new("a@example.com", "b@example.com"), message())
    await spool.accept(new(via="account.other"), message())
    two = await spool.accept(new(), message())
    accepted = RecipientReplies(accepted=["a@example.com"])
    await spool.claim("smtp")
    await spool.hand_over(one.id)
    # It is the next one itself, once more.
    assert await spool.settle(one.id, accepted, claims_next_of="smtp") == (await spool.job(one.id), None)
    assert (await spool.job(one.id)).state == "queued"
    await spool.claim("smtp")
    await spool.hand_over(one.id)
    rest = RecipientReplies(accepted=["b@example.com"])
    sent, following = await spool.settle(one.id, rest, claims_next_of="smtp")
    assert (sent.state, following) == ("sent", await spool.job(two.id))
    assert following is not None
    assert (following.state, following.attempts) == ("sending", 1)
    with pytest.raises(InputError):
        await spool.cancel(two.id)
    await spool.hand_over(two.id)
    sent, following = await spool.settle(two.id, RecipientReplies(accepted=["to@example.com"]), claims_next_of="smtp")
    assert (sent.state, following) == ("sent", None)
