"""A disk that takes no more: one sentence with its cause, nothing accepted, nothing lost."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from mailslot.spool.errors import SpoolError
from mailslot.spool.recovery import Recovery
from mailslot.spool.spool import Spool
from spool.conftest import MESSAGE, SMALL, Clock, files, message, new, octets
from vault.conftest import drop_privileges
from vault.test_disk import fill

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path


async def fails(work: Awaitable[object], *causes: str) -> None:
    with pytest.raises(SpoolError, match=r"^[^\n]+\.$") as caught:
        await work
    assert caught.value.cause in causes
    assert caught.value.stage == "spool"


async def receive(spool: Spool, mail: bytes) -> None:
    async with spool.ledger.receive("status-pop", "u") as file:
        await file.write(mail)


async def test_a_full_disk(home: Path, clock: Clock, small_disk: Callable[[str], None]) -> None:
    async with Spool(home, limits=SMALL, clock=clock) as spool, spool.delivery_lock():
        first = await spool.accept(new(), message())
        fill(home / "filler")
        await fails(spool.accept(new(), message(b"x" * 100_000)), "spool_full")
        await fails(receive(spool, b"x" * 100_000), "spool_full")
        assert len(files(home)) == 1
        assert await octets(spool.content(first)) == MESSAGE
        assert [job.state for job in await spool.jobs()] == ["queued"]
        (home / "filler").unlink()
        await spool.accept(new(), message())
        await receive(spool, MESSAGE)
        assert await spool.recover() == Recovery()
        assert len(files(home)) == 3


async def test_a_disk_that_becomes_full_at_any_point(
    home: Path, clock: Clock, small_disk: Callable[[str], None]
) -> None:
    """With ever more room the same steps get ever further; what was acknowledged is there each time."""
    async with Spool(home, limits=SMALL, clock=clock) as spool, spool.delivery_lock():
        await spool.store("x").put("a", 1)
        acknowledged, ended = 0, 0
        for room in range(0, 300_000, 6_000):
            fill(home / "filler")
            size = (home / "filler").stat().st_size
            os.truncate(home / "filler", max(size - room, 0))
            with suppress(SpoolError):
                job = await spool.accept(new(), message(b"x" * 30_000))
                acknowledged += 1
                await spool.claim("smtp")
                await spool.hand_over(job.id)
                await spool.record_replies(job.id, accepted=["to@example.com"])
                ended += 1
                await receive(spool, b"%d" % room)
            (home / "filler").unlink()
            await spool.recover()
            jobs = await spool.jobs(limit=1000)
            assert len(jobs) == acknowledged
            for job in jobs:
                assert job.state in {"queued", "in_doubt", "sent", "cancelled"}
                if job.state == "queued":
                    assert len(await octets(spool.content(job))) == 30_002
                    await spool.cancel(job.id)
        assert 0 < ended < acknowledged or acknowledged < 50
        assert ended > 5
        assert await spool.store("x").get("a") == 1


async def test_opened_on_a_full_disk(home: Path, clock: Clock, small_disk: Callable[[str], None]) -> None:
    fill(home / "filler")

    async def open_it() -> None:
        async with Spool(home, limits=SMALL, clock=clock) as spool:
            await spool.accept(new(), message())

    await fails(open_it(), "spool_full", "spool_unwritable")
    (home / "filler").unlink()
    await open_it()


async def test_a_read_only_disk(home: Path, clock: Clock, small_disk: Callable[[str], None]) -> None:
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        await spool.accept(new(), message())

    async def open_it() -> None:
        async with Spool(home, limits=SMALL, clock=clock) as opened:
            assert len(await opened.jobs()) == 1

    small_disk("ro")
    try:
        await fails(open_it(), "spool_unwritable")
    finally:
        small_disk("rw")
    await open_it()


async def test_an_unwritable_folder(home: Path, clock: Clock) -> None:
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        await spool.accept(new(), message())

    async def open_it() -> None:
        async with Spool(home, limits=SMALL, clock=clock) as opened:
            await opened.accept(new(), message())

    with out_of_reach(home / "spool"):
        await fails(open_it(), "spool_unwritable")
    await open_it()


@contextmanager
def out_of_reach(folder: Path) -> Iterator[None]:
    """Be a user who may read a folder and not write it."""
    for path in folder.parents:
        if path.owner() == "root" and path.stat().st_mode & 0o077 == 0:
            path.chmod(0o711)
    folder.chmod(0o500)
    with drop_privileges(folder.parent, folder, *folder.rglob("*")):
        yield
    folder.chmod(0o700)


@pytest.fixture
def occupied_home(home: Path) -> Path:
    home.write_bytes(b"")
    return home


async def test_a_home_that_is_a_file(occupied_home: Path) -> None:
    home = occupied_home

    async def open_it() -> None:
        async with Spool(home):
            raise AssertionError

    await fails(open_it(), "spool_unwritable")


@pytest.mark.parametrize("call", ["fsync", "rename", "write"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
async def test_every_system_call_that_can_fail(
    spool: Spool, home: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    await spool.accept(new(), message())
    cause = "spool_full" if number == errno.ENOSPC else "spool_unwritable"

    def failing(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        await fails(spool.accept(new(), message()), cause)
        await fails(receive(spool, MESSAGE), cause)
    assert len(files(home)) == 1
    assert len(await spool.jobs()) == 1
    await spool.accept(new(), message())
    await receive(spool, MESSAGE)


async def test_a_file_system_that_has_no_locks(home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a network share may be."""

    def failing(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    async def open_it() -> None:
        async with Spool(home, limits=SMALL, clock=clock):
            pass

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", failing)
        await fails(open_it(), "spool_unwritable")
    await open_it()


async def test_created_on_a_disk_that_becomes_full(home: Path, clock: Clock, small_disk: Callable[[str], None]) -> None:
    """With ever more room the database gets ever further; unfinished, it is neither used nor taken for a lost one."""
    opened, causes = 0, list[str | None]()
    for room in range(0, 280_000, 4096):
        fill(home / "filler")
        os.truncate(home / "filler", max((home / "filler").stat().st_size - room, 0))
        try:
            async with Spool(home, limits=SMALL, clock=clock):
                opened += 1
        except SpoolError as error:
            causes.append(error.cause)
        (home / "filler").unlink()
        async with Spool(home, limits=SMALL, clock=clock) as spool:
            assert await spool.losses() == [], room
        for path in (home / "spool").iterdir():
            assert "damaged" not in path.name, room
            path.unlink()
    assert opened > 3
    assert len(causes) > 3
    assert set(causes) <= {"spool_full", "spool_unwritable"}
