"""Bounded in number, octets and age, and clear about it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import InputError
from mailslot.spool.errors import SpoolError
from mailslot.spool.job import RecipientRefusal
from mailslot.spool.limits import SpoolLimits, format_size
from mailslot.spool.spool import Spool
from spool.conftest import NOON, SMALL, Clock, files, message, new

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400.0


async def refused(spool: Spool, sentence: str, *, size: int = 100) -> None:
    with pytest.raises(SpoolError, match=sentence) as caught:
        await spool.accept(new(), message(b"x" * (size - 2) + b"\r\n"))
    assert caught.value.cause == "spool_full"


async def test_too_many_jobs(home: Path, clock: Clock) -> None:
    async with Spool(home, limits=replace(SMALL, max_jobs=2), clock=clock) as spool:
        await spool.accept(new(key="k"), message())
        await spool.accept(new(), message())
        await refused(spool, "2 jobs are waiting, and no more than 2 may")
        # What is there already is given all the same.
        assert (await spool.accept(new(key="k"), message())).id == 1
        await spool.cancel(1)
        await spool.accept(new(), message())
        assert len(files(home)) == 2


async def test_too_many_octets(home: Path, clock: Clock) -> None:
    async with Spool(
        home, limits=replace(SMALL, max_total_size=1_000_000, max_message_size=900_000), clock=clock
    ) as spool:
        await spool.accept(new(), message(b"x" * 600_000))
        await refused(
            spool, r"have 0\.6 MB; with this one of 0\.5 MB they would have more than the 1\.0 MB", size=500_000
        )
        with pytest.raises(InputError, match=r"The message has 1\.0 MB; at most 0\.9 MB") as caught:
            await spool.accept(new(), message(b"x" * 1_000_000))
        assert caught.value.cause == "message_too_large"


async def test_limits_hold_for_concurrent_jobs(home: Path, clock: Clock) -> None:
    async with Spool(home, limits=replace(SMALL, max_jobs=3), clock=clock) as spool, anyio.create_task_group() as group:
        full: list[SpoolError] = []

        async def accept() -> None:
            try:
                await spool.accept(new(), message())
            except SpoolError as error:
                full.append(error)

        for _ in range(20):
            group.start_soon(accept)
    assert len(full) == 17
    assert len(files(home)) == 3


@pytest.mark.in_a_folder
async def test_free_space_is_checked_before_a_message_is_read(home: Path, clock: Clock) -> None:
    class Untouched:
        size = 1000
        eight_bit = smtputf8 = False

        def chunks(self) -> None:
            raise AssertionError

    async with Spool(home, limits=SpoolLimits(disk_reserve=10**18), clock=clock) as spool:
        with pytest.raises(
            SpoolError, match=r"^The disk has [\d.,]+ [MG]B free; this message needs 1\.0 kB, and "
        ) as caught:
            await spool.accept(new(), Untouched())
        assert caught.value.cause == "spool_full"
        with pytest.raises(SpoolError, match="The disk has"):
            async with spool.ledger.receive("fax-pop", "1", 1000):
                raise AssertionError


async def test_expired_jobs_fail(home: Path, clock: Clock) -> None:
    limits = replace(SMALL, max_lifetime=2 * DAY)
    async with Spool(home, limits=limits, clock=clock) as spool, spool.delivery_lock():
        untried, tried, held, doubtful, patient = [
            await spool.accept(new(via=via, lifetime=lifetime), message())
            for via, lifetime in [("a", DAY), ("b", DAY), ("c", DAY), ("d", DAY), ("e", 99 * DAY)]
        ]
        await spool.claim("b")
        await spool.defer(tried.id, NOON + DAY, "server_busy", "The server is busy.")
        await spool.hold(held.id, "token_update_failed", "Obtain the token again.")
        await spool.claim("d")
        await spool.hand_over(doubtful.id)
        await spool.claim("e")
        await spool.requeue(patient.id)
        assert patient.expires_at == NOON + 2 * DAY
        clock.now += DAY
        await spool.prune()
        states = {job.via: job.state for job in await spool.jobs()}
        # A device that slept has to try at least once; for a job that is held, time stands still.
        assert states == {"a": "queued", "b": "failed", "c": "held", "d": "in_doubt", "e": "queued"}
        failed = await spool.job(tried.id)
        assert failed.cause == "server_busy"
        assert failed.sentence == "It could not be delivered within 24 hours. The server is busy."
        assert untried.id == 1
        clock.now += DAY
        await spool.prune()
        failed = await spool.job(held.id)
        assert failed.state == "failed"
        assert failed.sentence == "It could not be delivered within 48 hours. Obtain the token again."


async def test_finished_jobs_are_deleted_file_first(home: Path, clock: Clock) -> None:
    limits = replace(SMALL, sent_retention=30 * DAY, failed_retention=7 * DAY, key_retention=400 * DAY)
    async with Spool(home, limits=limits, clock=clock) as spool, spool.delivery_lock():
        sent = await spool.accept(new(key="sent"), message())
        await spool.claim("smtp")
        await spool.record_replies(sent.id, accepted=["to@example.com"])
        failed = await spool.accept(new(key="failed"), message())
        await spool.fail(failed.id, "content_refused", "No.")
        doubtful = await spool.accept(new(), message())
        await spool.claim("smtp")
        await spool.hand_over(doubtful.id)
        await spool.abandon(doubtful.id)
        waiting = await spool.accept(new(), message())
        assert len(files(home)) == 3

        clock.now = NOON + 8 * DAY
        await spool.prune()
        assert len(files(home)) == 2
        with pytest.raises(InputError, match="not kept any more"):
            await spool.retry(failed.id)

        clock.now = NOON + 31 * DAY
        await spool.prune()
        await spool.prune()
        assert [job.id for job in await spool.jobs()] == [waiting.id]
        assert len(files(home)) == 1
        again = await spool.accept(new(key="sent"), message())
        assert (again.id, again.state, again.recipients) == (sent.id, "sent", ())
        assert (await spool.accept(new(key="failed"), message())).state == "failed"

        clock.now = NOON + 401 * DAY
        await spool.prune()
        assert (await spool.accept(new(key="sent"), message())).id > waiting.id


async def test_the_number_of_finished_jobs_is_bounded(home: Path, clock: Clock) -> None:
    limits = replace(SMALL, max_finished_jobs=3, max_keys=4)
    async with Spool(home, limits=limits, clock=clock) as spool:
        for n in range(10):
            clock.now += 1
            job = await spool.accept(new(key=str(n)), message())
            if n != 0:
                await spool.cancel(job.id)
        await spool.prune()
        assert [job.id for job in await spool.jobs()] == [10, 9, 8, 1]
        # The four newest, and the one whose job waits.
        known = [await spool.accept(new(key=str(n)), message()) for n in (0, 6, 7, 8, 9)]
        assert [job.id for job in known] == [1, 7, 8, 9, 10]
        assert (await spool.accept(new(key="5"), message())).id == 11


async def test_a_long_refusal(spool: Spool) -> None:
    everybody = [f"{n}@example.com" for n in range(100)]
    job = await spool.accept(new(*everybody), message())
    async with spool.delivery_lock():
        await spool.claim("smtp")
        job = await spool.record_replies(job.id, refused={each: RecipientRefusal("550 no") for each in everybody})
    assert job.sentence.endswith(" and 95 more.")


def test_human_readable_sizes() -> None:
    assert [format_size(n) for n in (0, 1500, 99_999, 25_300_000, 12_345_678_901)] == [
        "0.0 kB",
        "1.5 kB",
        "100.0 kB",
        "25.3 MB",
        "12.3 GB",
    ]
