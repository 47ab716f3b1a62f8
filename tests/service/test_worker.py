"""The worker over hours and days, with fast and changed clocks, and how it stops."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.errors import InputError
from mailslot.service.delivery import Delivery
from mailslot.slots.accounts import add_account
from mailslot.spool.errors import SpoolError
from mailslot.spool.spool import Spool
from mailslot_plugins.sandbox import Fault, Sandbox, run_sandbox
from service.sending_device import OPEN, FastClocks, opened, received, run_sending_device, sandbox_settings, set_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mailslot.spool.transitions import RecipientReplies
    from service.sending_device import SendingDevice

    RunSendingDevice = Callable[..., AbstractAsyncContextManager[tuple[SendingDevice, Sandbox]]]

pytestmark = pytest.mark.virtual_time

HOUR, DAY = 3600.0, 86_400.0
REFUSED = {"server": "127.0.0.1", "port": 1, "security": "none", "sender_address": "scanner@example.com"}


@pytest.fixture(scope="module")
async def running(anyio_backend: object) -> AsyncIterator[Sandbox]:
    """A sandbox for all tests of this module."""
    async with run_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sending_device(running: Sandbox) -> RunSendingDevice:
    """Opens a device that sends to it."""
    return partial(run_sending_device, sandbox=running)


async def test_a_server_that_is_down_for_the_whole_retry_schedule(tmp_path: Path) -> None:
    """All jobs are given up at their time, each with the reason; none before."""
    clocks = FastClocks(40_000)
    async with opened(set_up(tmp_path, REFUSED), clocks) as harness:
        jobs = [await harness.accept(text=str(number)) for number in range(50)]
        alarm = await harness.accept(pipeline="alerts", lifetime=30 * DAY)
        async with harness.delivering():
            for accepted in jobs:
                job = await harness.until(accepted, "failed", seconds=40)
                assert job.cause == "connection_refused"
                assert "24 hours" in job.sentence
                assert DAY - 1 < job.changed_at - job.created_at < 2 * DAY
            assert (await harness.job(alarm)).state in {"deferred", "queued", "sending"}
            counted = [(await harness.job(job)).attempts for job in jobs]
        # As many attempts as the schedule has for one job, and few for the others: one stands for all.
        assert sum(counted) < 50 * 6


async def test_a_server_that_comes_back(tmp_path: Path) -> None:
    clocks = FastClocks(10_000)
    async with run_sandbox(personality=OPEN) as sandbox:
        async with opened(set_up(tmp_path, REFUSED), clocks) as harness, harness.delivering():
            jobs = [await harness.accept(text=str(number)) for number in range(20)]
            await harness.until(jobs[-1], "deferred")
            await harness.device.sleep(4 * HOUR)
            assert {job.state for job in await harness.spool.jobs()} <= {"deferred", "sending", "queued"}
            harness.device.records.change("smtp", sandbox_settings(sandbox), {})
            for job in jobs:
                assert (await harness.until(job, "sent")).cause is None
        assert len(sandbox.submissions) == 20


@pytest.mark.parametrize("seconds", [400 * DAY, -400 * DAY, 30 * DAY, -2 * HOUR])
async def test_a_clock_change_neither_stalls_nor_expires_jobs(
    sending_device: RunSendingDevice, tmp_path: Path, seconds: float
) -> None:
    clocks = FastClocks(2000)
    async with sending_device(tmp_path, clocks) as (harness, sandbox):
        sandbox.rules.content = "451 4.7.1 Come back"
        jobs = [await harness.accept(text=str(number)) for number in range(10)]
        async with harness.delivering():
            for job in jobs:
                await harness.until(job, "deferred")
            clocks.set(seconds)
            await harness.device.sleep(10 * 60)
            found = [await harness.job(job) for job in jobs]
            assert {job.state for job in found} <= {"deferred", "sending", "queued", "in_doubt"}
            for job in found:
                assert job.expires_at is not None
                assert 23 * HOUR < job.expires_at - clocks.wall() < 24 * HOUR
            new = await harness.accept(text="new")
            sandbox.rules.content = None
            for job in [*jobs, new]:
                await harness.until(job, "sent", seconds=30)
        assert len(sandbox.submissions) == 11


async def test_a_clock_that_is_set_does_not_delete_what_was_set_aside(
    sending_device: RunSendingDevice, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clocks = FastClocks(2000)
    async with sending_device(tmp_path, clocks) as (harness, _), harness.delivering():
        ledger = harness.device.spool.ledger
        async with ledger.receive("fax-pop", "u1") as file:
            await file.write(b"Subject: a fax\r\n\r\n")
        await ledger.set_aside(1, "It cannot be printed.")
        await harness.device.sleep(60)
        clocks.set(400 * DAY)
        # Files are looked through once a minute.
        await harness.device.sleep(10 * 60)
        assert "The clock was set by" in caplog.text
        assert (await ledger.mail(1)).path is not None


@pytest.mark.parametrize("days", [-10_000, 3])
async def test_a_clock_change_while_the_device_was_off(
    sending_device: RunSendingDevice, tmp_path: Path, days: int
) -> None:
    clocks = FastClocks(600)
    async with sending_device(tmp_path, clocks) as (harness, sandbox):
        sandbox.rules.content = "451 4.7.1 Come back"
        job = await harness.accept()
        async with harness.delivering():
            await harness.until(job, "deferred")
    clocks.set(days * DAY)
    async with sending_device(tmp_path, clocks) as (harness, sandbox), harness.delivering():
        job = await harness.until(job, "sent")
        assert job.attempts >= 2


async def test_messages_over_the_limit_per_minute_wait(tmp_path: Path) -> None:
    clocks = FastClocks(150)
    async with run_sandbox(personality=OPEN) as sandbox:
        records = set_up(tmp_path, {**sandbox_settings(sandbox), "provider": "microsoft365"})
        async with opened(records, clocks) as harness, harness.delivering():
            began = clocks.monotonic()
            for number in range(70):
                last = await harness.accept(text=str(number))
            await harness.until(last, "sent")
            assert clocks.monotonic() - began > 119
            assert {job.attempts for job in await harness.spool.jobs()} == {1}
        assert len({subject for subject, _ in received(sandbox)}) == 70


async def test_recipients_over_the_daily_limit_wait(tmp_path: Path) -> None:
    clocks = FastClocks(40_000)
    async with run_sandbox(personality=OPEN) as sandbox:
        records = set_up(tmp_path, {**sandbox_settings(sandbox), "provider": "microsoft365"})
        async with opened(records, clocks) as harness, harness.delivering():
            store = harness.device.store("delivery")
            began = clocks.monotonic()
            await store.put("sent nobody at localhost", {"minute": [], "day": [[clocks.wall(), 100, 9_950]]})
            job = await harness.accept(*(f"user{number}@example.com" for number in range(80)), lifetime=3 * DAY)
            await harness.until_true(lambda: len(sandbox.submissions) == 1)
            job = await harness.until(job, "deferred")
            assert (job.cause, len(job.waiting)) == ("sending_limit_reached", 30)
            await harness.until(job, "sent", seconds=40)
            assert clocks.monotonic() - began > 23 * HOUR
        assert [len(to) for _, to in received(sandbox)] == [50, 30]


# Stopping.


async def test_stopping_finishes_a_running_transaction(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    async with sending_device(tmp_path) as (harness, sandbox):
        sandbox.faults.append(Fault("message", delay=0.5))
        jobs = [await harness.accept(text=str(number)) for number in range(3)]
        async with harness.delivering():
            await harness.until(jobs[0], "in_doubt")
        assert [(await harness.job(job)).state for job in jobs] == ["sent", "queued", "queued"]
        assert len(sandbox.submissions) == 1


@pytest.mark.parametrize(
    ("moment", "state"),
    [("greeting", "queued"), ("MAIL", "queued"), ("content", "in_doubt"), ("message", "in_doubt")],
)
@pytest.mark.parametrize("how", ["stop", "cancel"])
async def test_stopping_aborts_a_hanging_transaction(
    sending_device: RunSendingDevice, tmp_path: Path, moment: str, state: str, how: str
) -> None:
    async with sending_device(tmp_path, grace=0.3) as (harness, sandbox):
        harness.device.records.change("smtp", {"timeout": 60}, {})
        sandbox.faults.append(Fault(moment, delay=math.inf))
        job = await harness.accept()
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(harness.worker.run)
            await harness.until_true(lambda: sandbox.dialogues)
            await harness.until(job, "in_doubt" if state == "in_doubt" else "sending")
            await anyio.sleep(0.1)
            if how == "stop":
                await harness.worker.stop()
            else:
                group.cancel_scope.cancel()
        assert anyio.current_time() - began < 5
        job = await harness.job(job)
        assert job.state == state
        assert job.attempts == (0 if state == "queued" else 1)
        # The lock is free again.
        async with harness.spool.delivery_lock():
            pass


async def test_a_job_that_was_claimed_with_the_reply_to_another_is_given_back(
    sending_device: RunSendingDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sending_device(tmp_path) as (harness, sandbox):
        first, second = await harness.accept(), await harness.accept()
        settle, claimed = harness.spool.settle, []

        async def stopped_meanwhile(job_id: int, replies: RecipientReplies, **options: str | None) -> object:
            found = await settle(job_id, replies, **options)
            claimed.append(await harness.spool.job(second.id))
            for deliverer in harness.worker._deliverers.values():
                deliverer.stop()
            return found

        monkeypatch.setattr(harness.spool, "settle", stopped_meanwhile)
        async with harness.delivering():
            await harness.until(first, "sent")
            second = await harness.until(second, "queued")
        assert [job.state for job in claimed] == ["sending"]
        assert second.attempts == 0
        assert len(sandbox.submissions) == 1


async def test_an_idle_worker_stops_at_once(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    async with sending_device(tmp_path) as (harness, _sandbox):
        await harness.accept()
        async with harness.delivering():
            await harness.until_true(lambda: _sandbox.submissions)
            began = anyio.current_time()
        assert anyio.current_time() - began < 2


# One process at a time.


async def test_only_one_process_delivers(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    async with sending_device(tmp_path) as (harness, sandbox), Spool(tmp_path) as other:
        job = await harness.accept()
        async with other.delivery_lock():
            with pytest.raises(SpoolError) as caught:
                await harness.worker.deliver(job.id)
            assert caught.value.cause == "spool_busy"
            with pytest.raises(SpoolError):
                await harness.deliver_due()
            assert not sandbox.submissions
        assert (await harness.worker.deliver(job.id)).state == "sent"


async def test_the_service_waits_for_a_scan_command_that_delivers(
    sending_device: RunSendingDevice, tmp_path: Path
) -> None:
    async with sending_device(tmp_path) as (harness, _sandbox), Spool(tmp_path) as other:
        job = await harness.accept()
        async with anyio.create_task_group() as group:
            async with other.delivery_lock():
                group.start_soon(harness.worker.run)
                await anyio.sleep(0.2)
                assert (await harness.job(job)).state == "queued"
            await harness.until(job, "sent")
            await harness.worker.stop()


async def test_delivering_a_single_job(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    async with sending_device(tmp_path) as (harness, sandbox):
        older, job = await harness.accept(text="older"), await harness.accept(text="this one")
        assert (await harness.worker.deliver(job.id)).state == "sent"
        assert (await harness.job(older)).state == "queued"
        assert (await harness.worker.deliver(job.id)).state == "sent"
        assert len(sandbox.submissions) == 1
        sandbox.rules.content = "451 4.7.1 Come back"
        assert (await harness.worker.deliver(older.id)).state == "deferred"
        # Due or not.
        sandbox.rules.content = None
        assert (await harness.worker.deliver(older.id)).state == "sent"
        with pytest.raises(InputError):
            await harness.worker.deliver(99)


async def test_a_job_of_another_kind_is_left_alone(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    async with sending_device(tmp_path) as (harness, _sandbox):
        job = await harness.accept(via="printer:office")
        await harness.deliver_due()
        assert (await harness.worker.deliver(job.id)).state == "queued"


# Faults of our own.


async def test_a_full_disk_before_the_end_of_a_message_sends_nothing(
    sending_device: RunSendingDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sending_device(tmp_path, FastClocks(60)) as (harness, sandbox):
        job = await harness.accept()
        spool, full = harness.spool, [True, True]
        hand_over, settle = spool.hand_over, spool.settle

        async def no_room(job_id: int) -> object:
            if full[0]:
                raise SpoolError("The disk is full.", cause="spool_full", retryable=True)
            return await hand_over(job_id)

        async def no_room_for_the_answer(job_id: int, replies: RecipientReplies, **options: str | None) -> object:
            if full[1]:
                full[1] = False
                raise SpoolError("The disk is full.", cause="spool_full", retryable=True)
            return await settle(job_id, replies, **options)

        monkeypatch.setattr(spool, "hand_over", no_room)
        monkeypatch.setattr(spool, "settle", no_room_for_the_answer)
        async with harness.delivering():
            job = await harness.until(job, "deferred")
            assert job.cause == "spool_full"
            assert not sandbox.submissions
            full[0] = False
            await harness.until(job, "sent")
        assert full == [False, False]
        assert len(sandbox.submissions) == 1


async def test_an_internal_error_with_one_job_does_not_stop_others(
    sending_device: RunSendingDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sending_device(tmp_path, FastClocks(60)) as (harness, _sandbox):
        bad, good = await harness.accept(text="bad"), await harness.accept(text="good")
        submit = Delivery._submit

        async def fail(self: Delivery, job: object, *rest: object) -> object:
            if job.id == bad.id:  # type: ignore[attr-defined]  # it is a job
                raise ZeroDivisionError
            return await submit(self, job, *rest)  # type: ignore[arg-type]  # they are submit's

        monkeypatch.setattr(Delivery, "_submit", fail)
        async with harness.delivering():
            await harness.until(good, "sent")
            job = await harness.until(bad, "deferred")
            assert job.cause == "unknown"
            assert "log" in job.sentence


async def test_an_internal_error_after_sending_does_not_resend(
    sending_device: RunSendingDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's submitter, say, has handed it over and then fails in a way of its own."""
    async with sending_device(tmp_path, FastClocks(60)) as (harness, sandbox):
        bad, good = await harness.accept(text="bad"), await harness.accept(text="good")
        submit, before = Delivery._submit, len(sandbox.submissions)

        async def fail(self: Delivery, job: object, *rest: object) -> object:
            answer = await submit(self, job, *rest)  # type: ignore[arg-type]  # they are submit's
            if job.id == bad.id:  # type: ignore[attr-defined]  # it is a job
                raise ZeroDivisionError
            return answer

        monkeypatch.setattr(Delivery, "_submit", fail)
        async with harness.delivering():
            await harness.until(good, "sent")
            job = await harness.spool.job(bad.id)
            assert (job.state, job.doubts) == ("in_doubt", 1)
        assert len(sandbox.submissions) == before + 2


async def test_accounts_that_are_added_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is added while what waits for the first is released."""
    async with (
        opened(set_up(tmp_path, REFUSED)) as harness,
        harness.spool.delivery_lock(),
        anyio.create_task_group() as group,
    ):
        records, release = harness.device.records, harness.spool.release

        async def release_slowly(via: str) -> None:
            if via == "account.first":
                add_account(records, "second", "SMTP")
                assert await harness.device.refresh()
            await release(via)

        monkeypatch.setattr(harness.spool, "release", release_slowly)
        add_account(records, "first", "SMTP")
        assert await harness.device.refresh()
        group.start_soon(harness.worker._follow_accounts, group)
        await harness.until_true(lambda: {"account.first", "account.second"} <= harness.worker.records)
        group.cancel_scope.cancel()
