"""A copied home folder sends nothing that its original may send, unless a person says so."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from mailslot.spool.spool import Spool
from spool.conftest import message, new

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def recovered(home: Path) -> dict[int, tuple[str, str | None]]:
    """State and cause of each job, after a delivery has begun."""
    async with Spool(home) as spool, spool.delivery_lock():
        await spool.recover()
        return {job.id: (job.state, job.cause) for job in await spool.jobs()}


async def accept_jobs(home: Path, *, unfinished: bool = True) -> None:
    """A home with a job in each state that it can be stopped in."""
    async with Spool(home) as spool, spool.delivery_lock():
        await spool.recover()
        sent = await spool.accept(new(), message())
        await spool.claim("smtp")
        await spool.record_replies(sent.id, accepted=["to@example.com"])
        if not unfinished:
            return
        in_doubt = await spool.accept(new(), message())
        await spool.claim("smtp")
        await spool.hand_over(in_doubt.id)
        held = await spool.accept(new(), message())
        await spool.hold(held.id, "token_not_retrieved", "No token.")
        await spool.accept(new(), message())
        await spool.accept(new(), message())
        await spool.claim("smtp")


def copy(home: Path) -> Path:
    place = home.with_name("copy")
    subprocess.run(["cp", "-a", str(home), str(place)], check=True)
    return place


async def test_unfinished_jobs_fail_only_in_the_copy(tmp_path: Path) -> None:
    home = tmp_path / "home"
    await accept_jobs(home)
    jobs = await recovered(copy(home))
    assert jobs[1] == ("sent", None)
    assert {jobs[number] for number in range(2, 6)} == {("failed", "queue_copied")}
    original = await recovered(home)
    assert [original[number][0] for number in range(1, 6)] == ["sent", "in_doubt", "held", "queued", "queued"]


async def test_a_failed_job_can_be_retried_in_the_copy(tmp_path: Path) -> None:
    home = tmp_path / "home"
    await accept_jobs(home)
    place = copy(home)
    await recovered(place)
    async with Spool(place) as spool:
        assert (await spool.retry(4)).state == "queued"
        await spool.accept(new(), message())
    jobs = await recovered(place)
    assert (jobs[4][0], jobs[6][0], jobs[5][0]) == ("queued", "queued", "failed")


async def test_jobs_continue_in_a_moved_or_renamed_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    await accept_jobs(home)
    place = copy(home)
    async with Spool(place) as spool:
        await spool.move_here()
    assert [state for state, _ in (await recovered(place)).values()].count("failed") == 0
    renamed = home.rename(tmp_path / "renamed")
    assert [state for state, _ in (await recovered(renamed)).values()].count("failed") == 0


async def test_a_move_is_confirmed_while_a_process_delivers(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool, spool.delivery_lock():
        await spool.recover()
        async with Spool(tmp_path) as another:
            await another.move_here()


async def test_an_empty_copy_works_normally(tmp_path: Path) -> None:
    home = tmp_path / "home"
    await accept_jobs(home, unfinished=False)
    place = copy(home)
    assert await recovered(place) == {1: ("sent", None)}
    async with Spool(place) as spool:
        await spool.accept(new(), message())
    assert (await recovered(place))[2] == ("queued", None)
