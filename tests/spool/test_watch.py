"""Changes of a job are noticed, whichever process made them."""

from __future__ import annotations

import math
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.spool.folder import watch
from mailslot.spool.spool import Spool
from spool.conftest import Clock, message, new

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_job_is_watched_from_another_process(spool: Spool, home: Path, clock: Clock) -> None:
    job = await spool.accept(new(), message())
    states: list[str] = []
    next_commit = anyio.Event()

    async def watch_job() -> None:
        nonlocal next_commit
        async with Spool(home, clock=clock) as other, aclosing(other.watch(job.id)) as seen:
            async for each in seen:
                states.append(each.state)
                next_commit.set()
                if each.state == "sent":
                    return

    async with anyio.create_task_group() as group, spool.delivery_lock():
        group.start_soon(watch_job)
        with anyio.fail_after(120):
            for step in (
                lambda: spool.claim("smtp"),
                lambda: spool.hand_over(job.id),
                lambda: spool.record_replies(job.id, accepted=["to@example.com"]),
            ):
                await next_commit.wait()
                next_commit = anyio.Event()
                await step()
    assert states == ["queued", "sending", "in_doubt", "sent"]


async def test_changes_are_noticed(spool: Spool) -> None:
    async with aclosing(spool.changes()) as changes:
        await anext(changes)
        await spool.accept(new(), message())
        with anyio.fail_after(120):
            await anext(changes)
        with anyio.move_on_after(0.5) as scope:
            await anext(changes)
        assert scope.cancelled_caught


@pytest.mark.in_a_folder
async def test_a_commit_that_is_not_visible_yet(
    spool: Spool, home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has written to the log, and waits for the disk: the only event comes too early."""
    monkeypatch.setattr(watch, "_LONG_PAUSE", math.inf)
    async with Spool(home, clock=clock) as other, aclosing(spool.changes()) as changes:
        await anext(changes)
        version, before = spool._storage.database.version, spool._storage.database.version()
        calls = 0

        def late_version() -> tuple[int, int]:
            nonlocal calls
            calls += 1
            return before if calls <= 3 else version()

        monkeypatch.setattr(spool._storage.database, "version", late_version)
        await other.accept(new(), message())
        with anyio.fail_after(120):
            await anext(changes)
    assert calls == 4
