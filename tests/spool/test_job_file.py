"""A message that arrives as a stream of unknown size is a job like any other, once it is committed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import InputError
from mailslot.spool.acceptance import EarlierKey
from mailslot.spool.errors import SpoolError
from mailslot.spool.job_file import JobFile
from mailslot.spool.limits import SpoolLimits
from mailslot.spool.spool import Spool
from spool.conftest import MESSAGE, NOON, Clock, files, message, new, octets

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def receive(spool: Spool, *pieces: bytes, key: str | None = None, subject: str = "") -> object:
    file = JobFile(spool.acceptance, new())
    for piece in pieces:
        await file.write(piece)
    return await file.commit(new(key=key, subject=subject), smtputf8=False)


@pytest.mark.parametrize("pieces", [[MESSAGE], [MESSAGE[i : i + 1] for i in range(len(MESSAGE))], []])
async def test_a_received_message_is_stored_unchanged(spool: Spool, home: Path, pieces: list[bytes]) -> None:
    file = JobFile(spool.acceptance, new())
    for piece in pieces:
        await file.write(piece)
    assert await spool.jobs() == []
    job = await file.commit(new(notes={"device": "hall"}), smtputf8=False)
    assert (job.state, job.size, job.eight_bit, job.notes) == (
        "queued",
        len(b"".join(pieces)),
        False,
        {"device": "hall"},
    )
    assert await octets(spool.content(job)) == b"".join(pieces)
    assert job == await spool.job(job.id)
    assert len(files(home)) == 1


async def test_a_large_message_is_streamed(spool: Spool, clock: Clock) -> None:
    piece = b"\xe4" * 65_534 + b"\r\n"
    file = JobFile(spool.acceptance, new())
    for _ in range(32):
        await file.write(piece)
        assert sum(map(len, file._pending)) < 300_000
    clock.now += 1 / 3
    job = await file.commit(new(subject=""), smtputf8=False)
    assert (job.size, job.eight_bit, job.created_at) == (32 * len(piece), True, NOON + 1 / 3)
    assert await octets(spool.content(job)) == 32 * piece


async def test_many_messages_at_once_share_the_memory(spool: Spool) -> None:
    files = [JobFile(spool.acceptance, new()) for _ in range(100)]
    for _ in range(20):
        for file in files:
            await file.write(b"x" * 8_190 + b"\r\n")
    # What exceeds the common limit is a small piece of each.
    assert spool.acceptance.unwritten.octets <= 2 * 1024 * 1024 + len(files) * 16_384
    assert spool.acceptance.unwritten.octets == sum(
        len(each) for file in files for each in file._pending if each.strip()
    )
    jobs = [await file.commit(new(), smtputf8=False) for file in files[:3]]
    assert {job.size for job in jobs} == {20 * 8_192}
    for file in files[3:]:
        await file.discard()
        await file.discard()
    assert spool.acceptance.unwritten.octets == 0


@pytest.mark.in_a_folder
async def test_the_job_survives_the_loss_of_the_database(home: Path, clock: Clock) -> None:
    async with Spool(home, clock=clock) as spool:
        job = await receive(spool, MESSAGE, key="k" * 64)
    for path in (home / "spool").glob("spool.db*"):
        path.unlink()
    async with Spool(home, clock=clock) as spool:
        [found] = await spool.jobs()
        assert found.recipients == job.recipients
        assert await octets(spool.content(found)) == MESSAGE


async def test_the_same_key_is_one_job(spool: Spool, home: Path) -> None:
    first = await receive(spool, MESSAGE, key="k")
    assert await receive(spool, MESSAGE, key="k") == first
    assert (await spool.accept(new(key="k"), message())).id == first.id
    assert len(files(home)) == 1


@pytest.mark.parametrize(("since", "count"), [(NOON - 1, 1), (NOON, 2)])
async def test_an_earlier_key(spool: Spool, home: Path, since: float, count: int) -> None:
    first = await receive(spool, MESSAGE, key="before")
    file = JobFile(spool.acceptance, new())
    await file.write(MESSAGE)
    job = await file.commit(new(key="now"), smtputf8=False, earlier=EarlierKey("before", since))
    assert (job == first) == (count == 1)
    assert len(files(home)) == len(await spool.jobs()) == count


@pytest.mark.in_a_folder
@pytest.mark.parametrize(("earlier", "recovered"), [(False, False), (False, True), (True, True)])
async def test_a_key_whose_message_is_gone_stands_for_nothing(
    spool: Spool, home: Path, earlier: bool, recovered: bool
) -> None:
    """As where the commit of the first one could not be synced, and the device was cut off then."""
    await receive(spool, MESSAGE, key="k")
    [lost] = files(home)
    (home / "spool" / lost).unlink()
    if recovered:
        async with spool.delivery_lock():
            assert (await spool.recover()).failed
    file = JobFile(spool.acceptance, new())
    await file.write(MESSAGE)
    known = EarlierKey("k", NOON - 1)
    job = await file.commit(new(key="l" if earlier else "k"), smtputf8=False, earlier=known if earlier else None)
    assert await octets(spool.content(job)) == MESSAGE
    assert await spool.accept(new(key="l" if earlier else "k"), message()) == job


async def test_the_same_key_in_parallel(spool: Spool, home: Path) -> None:
    found: list[object] = []

    async def work() -> None:
        found.append(await receive(spool, MESSAGE, key="k"))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(work)
    assert len({job.id for job in found}) == 1
    assert len(files(home)) == 1


async def test_discarding_leaves_no_file(spool: Spool, home: Path) -> None:
    file = JobFile(spool.acceptance, new())
    await file.write(b"x" * 1_000_000)
    await file.discard()
    await file.discard()
    assert files(home) == []
    assert await spool.jobs() == []


async def test_a_longer_envelope_is_refused(spool: Spool, home: Path) -> None:
    file = JobFile(spool.acceptance, new())
    await file.write(b"x" * 300_000)
    with pytest.raises(InputError, match="too long"):
        await file.commit(new(subject="x" * 300), smtputf8=False)
    await file.discard()
    assert files(home) == []


async def test_the_envelope_of_a_short_message_may_grow(spool: Spool) -> None:
    """Nothing of the message was written before its end, so no room was left for it."""
    file = JobFile(spool.acceptance, new())
    await file.write(MESSAGE)
    job = await file.commit(new(subject="x" * 300), smtputf8=False)
    assert (job.subject, await octets(spool.content(job))) == ("x" * 300, MESSAGE)


@pytest.mark.in_a_folder
async def test_room_that_was_there_a_moment_ago(home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = SpoolLimits(disk_reserve=0, max_jobs=2)
    async with Spool(home, clock=clock, limits=limits) as spool:
        checked: list[int] = []
        monkeypatch.setattr(spool._storage, "check_free_space", lambda size, _: checked.append(size))
        for size, seconds, asks in [(5, 0, True), (5, 0.5, False), (6, 0, True), (4, 0.9, False), (4, 0.1, True)]:
            clock.now += seconds
            checked.clear()
            await spool.acceptance.check_room(size)
            assert bool(checked) == asks
        clock.now -= 5
        await spool.acceptance.check_room(4)
        assert checked == [4, 4], "the clock was set back"
        await receive(spool, MESSAGE)
        await spool.acceptance.check_room(4)
        await receive(spool, MESSAGE)
        with pytest.raises(SpoolError, match="deliver or cancel"):
            await spool.acceptance.check_room(4)


@pytest.mark.in_a_folder
async def test_no_room(home: Path, clock: Clock) -> None:
    limits = SpoolLimits(disk_reserve=0, max_message_size=1000, max_total_size=1500)
    async with Spool(home, clock=clock, limits=limits) as spool:
        with pytest.raises(InputError, match=r"at most 1\.0 kB") as caught:
            await spool.acceptance.check_room(1001)
        assert caught.value.cause == "message_too_large"
        file = JobFile(spool.acceptance, new())
        await file.write(b"x" * 1000)
        with pytest.raises(InputError, match=r"at most 1\.0 kB"):
            await file.write(b"x")
        await file.discard()
        await receive(spool, b"x" * 1000)
        with pytest.raises(SpoolError, match="deliver or cancel"):
            await spool.acceptance.check_room(501)
        # Nobody knew how large it would become.
        file = JobFile(spool.acceptance, new())
        await file.write(b"x" * 501)
        with pytest.raises(SpoolError, match="deliver or cancel"):
            await file.commit(new(), smtputf8=False)
        assert len(files(home)) == 1
    with pytest.raises(SpoolError, match="must stay free"):
        async with Spool(home, clock=clock, limits=replace(limits, disk_reserve=10**18)) as spool:
            await JobFile(spool.acceptance, new()).commit(new(), smtputf8=False)
