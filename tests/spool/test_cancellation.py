"""Cancelled at any point: accepted whole, or not at all; and what runs in a thread is never pulled from under it."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from mailslot.spool.recovery import Recovery
from mailslot.spool.spool import Spool
from spool.conftest import MESSAGE, Clock, files, message, new, octets

if TYPE_CHECKING:
    from collections.abc import Callable

TIMES = 60


async def in_order(spool: Spool, home: Path, accepted: int) -> None:
    """Every job has its whole file, and no file is without a job or mail."""
    jobs = await spool.jobs(limit=1000)
    assert len(jobs) >= accepted
    for job in jobs:
        assert await octets(spool.content(job)) == MESSAGE * 1000
    mails = await spool.ledger.mails(limit=1000)
    assert len(files(home)) == len(jobs) + len(mails)
    async with spool.delivery_lock():
        assert await spool.recover() == Recovery()


async def test_cancelled_by_a_cancel_scope(spool: Spool, home: Path) -> None:
    accepted = 0

    async def work(n: int) -> None:
        nonlocal accepted
        await spool.accept(new(), message(MESSAGE * 1000))
        accepted += 1
        async with spool.ledger.receive("status-pop", f"u{n}") as file:
            await file.write(b"%d\r\n\r\n" % n)

    for n in range(TIMES):
        with anyio.move_on_after(random.uniform(0, 0.004)):
            await work(n)
    await in_order(spool, home, accepted)
    assert len(await spool.jobs()) <= TIMES


@pytest.mark.parametrize("anyio_backend", ["asyncio"], scope="module")
async def test_cancelled_by_asyncio(spool: Spool, home: Path) -> None:
    """No scope shields from it: the caller is gone while its thread still writes."""
    accepted = 0

    async def work(n: int) -> None:
        nonlocal accepted
        await spool.accept(new(), message(MESSAGE * 1000))
        accepted += 1
        async with spool.ledger.receive("status-pop", f"u{n}") as file:
            await file.write(b"%d\r\n\r\n" % n)

    for n in range(TIMES):
        task = asyncio.ensure_future(work(n))
        await asyncio.sleep(random.uniform(0, 0.004))
        task.cancel()
        # Others go on meanwhile, on the same connection.
        await spool.store("x").put("n", n)
        await asyncio.gather(task, return_exceptions=True)
    await in_order(spool, home, accepted)
    assert await spool.store("x").get("n") == TIMES - 1


async def test_data_is_flushed_before_it_is_acknowledged(
    spool: Spool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file before it is renamed, its folder after it, and only then the row."""
    events: list[tuple[str, str]] = []
    fsync, rename, transact = os.fsync, os.rename, spool._storage.database.write_blocking

    def name(descriptor: int) -> str:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        return path.name.removeprefix(path.name.split(".", 1)[0])

    def recorded_fsync(descriptor: int) -> None:
        fsync(descriptor)
        events.append(("flush", name(descriptor)))

    def recorded_rename(source: Path, target: Path) -> None:
        rename(source, target)
        events.append(("rename", target.name.split(".", 1)[1]))

    def recorded_transact(work: Callable[..., object], *name_file: Callable[[], None], durable: bool) -> object:
        result = transact(work, *name_file, durable=durable)
        events.append(("commit", ""))
        return result

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "rename", recorded_rename)
    monkeypatch.setattr(spool._storage.database, "write_blocking", recorded_transact)
    await spool.accept(new(), message())
    assert events == [("flush", ".job.new"), ("rename", "job"), ("flush", ""), ("commit", "")]
    events.clear()
    async with spool.ledger.receive("status-pop", "u") as file:
        await file.write(MESSAGE)
    assert events == [("flush", ".status-pop.mail.new"), ("rename", "status-pop.mail"), ("flush", ""), ("commit", "")]


async def test_closed_while_in_use(home: Path, clock: Clock) -> None:
    async with Spool(home, clock=clock) as spool, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(spool.accept, new(), message())
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    async with Spool(home, clock=clock) as spool, spool.delivery_lock():
        recovered = await spool.recover()
        assert recovered.files == 0
        assert len(files(home)) == len(await spool.jobs())
