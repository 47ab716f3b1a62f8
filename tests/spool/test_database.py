"""The list of jobs: missing, damaged, of another version, moved; in no case is a job lost in silence."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from mailslot.spool.errors import SpoolError
from mailslot.spool.folder import database, schema
from mailslot.spool.spool import Spool
from spool.conftest import MESSAGE, Clock, files, message, new, octets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.spool.folder.storage import SqliteRepositories

MAIL = b"Subject: a request\r\n\r\nstatus\r\n"


async def fill(home: Path, clock: Clock) -> None:
    """Three jobs, of which one was sent, and a mail."""
    async with Spool(home, clock=clock) as spool, spool.delivery_lock():
        for key in ("sent", "held", "queued"):
            await spool.accept(new("a@example.com", "b@example.com", subject=key, key=key, notes={"n": key}), message())
        await spool.claim("smtp")
        await spool.record_replies(1, accepted=["a@example.com", "b@example.com"])
        await spool.hold(2, "token_update_failed", "Obtain the token again.")
        async with spool.ledger.receive("status-pop", "u1") as file:
            await file.write(MAIL)
        await spool.ledger.record_first_poll("status-pop")


def aside(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "spool").iterdir() if ".damaged-" in path.name)


def overwrite(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def spoil_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


@pytest.mark.parametrize("damage", [overwrite, cut, empty, spoil_a_page])
async def test_a_damaged_database_is_set_aside_and_rebuilt(
    home: Path, clock: Clock, damage: Callable[[Path], None]
) -> None:
    await fill(home, clock)
    path = home / "spool" / database.NAME
    damage(path)
    before = path.read_bytes()
    async with Spool(home, clock=clock) as spool:
        assert spool.recovered_count == 3
        kept = [(home / "spool" / name).read_bytes() for name in aside(home)]
        assert kept[0] == before
        jobs = await spool.jobs()
        assert sorted(job.subject for job in jobs) == ["held", "queued"]
        for job in jobs:
            assert (job.state, job.cause) == ("in_doubt", "spool_unreadable")
            assert "found again by its message: it may have been sent already" in job.sentence
            assert (job.notes, job.waiting) == ({"n": job.subject}, ("a@example.com", "b@example.com"))
            assert await octets(spool.content(job)) == MESSAGE
            assert (await spool.accept(new(key=job.subject), message())).id == job.id
            assert (await spool.retry(job.id)).state == "queued"
        mail = (await spool.ledger.mails())[0]
        assert (mail.state, mail.record, mail.size) == ("set_aside", "status-pop", len(MAIL))
        assert not await spool.ledger.has_polled("status-pop")
        assert await spool.ledger.was_lost()
        # On the server it may have another unique-id, and must not be handled again.
        async with spool.ledger.receive("status-pop", "u1") as file:
            await file.write(MAIL)
        assert file.duplicate
        assert await spool.ledger.waiting("status-pop") == []
    async with Spool(home, clock=clock) as spool:
        assert spool.recovered_count == 0
        assert len(aside(home)) == len(kept)
        async with spool.delivery_lock():
            assert (await spool.recover()).files == 0


async def test_a_missing_database(home: Path, clock: Clock) -> None:
    await fill(home, clock)
    (home / "spool" / database.NAME).unlink()
    # Beside the list, the log of another one.
    (home / "spool" / f"{database.NAME}-wal").write_bytes(os.urandom(10_000))
    async with Spool(home, clock=clock) as spool:
        assert spool.recovered_count == 3
        assert len(aside(home)) == 1
        assert len(await spool.jobs()) == 2


@pytest.mark.parametrize("record", ["status-pop", "account.inbox", "account.a-b_c"])
async def test_a_mail_is_found_again_for_its_record(home: Path, clock: Clock, record: str) -> None:
    async with Spool(home, clock=clock) as spool, spool.ledger.receive(record, "u1") as file:
        await file.write(MAIL)
    (home / "spool" / database.NAME).unlink()
    (home / "spool" / "a.b.c.mail").write_bytes(MAIL)
    async with Spool(home, clock=clock) as spool:
        assert [(mail.record, mail.state) for mail in await spool.ledger.mails()] == [(record, "set_aside")]
    assert (home / "spool" / "a.b.c.mail.damaged").exists()


async def test_an_unreadable_message_file_is_kept(home: Path, clock: Clock) -> None:
    await fill(home, clock)
    (home / "spool" / database.NAME).unlink()
    half, short = [home / "spool" / name for name in files(home, ".job")]
    cut(half)
    os.truncate(short, short.stat().st_size - 1)
    other = home / "spool" / "0.job"
    other.write_bytes(b'{"version": 99}\n')
    other.with_name("1.job").write_bytes(b'{"version": 1}\n')
    async with Spool(home, clock=clock) as spool:
        assert spool.recovered_count == 1
        async with spool.delivery_lock():
            await spool.recover()
    kept = {path.name for path in (home / "spool").glob("*.job.damaged")}
    assert kept == {f"{half.name}.damaged", f"{short.name}.damaged", "0.job.damaged", "1.job.damaged"}


async def test_damage_while_another_process_has_it_open(
    home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.1)
    async with Spool(home, clock=clock) as spool:
        await spool.accept(new(), message())
        os.truncate(home / "spool" / database.NAME, 0)
        with pytest.raises(
            SpoolError, match=r"damaged\. Stop every mailslot on this device and start it again"
        ) as caught:
            async with Spool(home, clock=clock):
                raise AssertionError
        assert caught.value.cause == "spool_unreadable"
        assert aside(home) == []
    async with Spool(home, clock=clock) as spool:
        assert len(await spool.jobs()) == 1


async def test_two_processes_create_the_database(home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one has it open from then on, and is no reason to call the list damaged."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.5)
    take, quicker = database.Database._try_lock, Spool(home, clock=clock)

    def late(self: database.Database, kind: int) -> bool:
        if (
            self is not quicker._storage.database
            and kind == fcntl.LOCK_EX
            and quicker._storage.database._connection is None
        ):
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            quicker._storage.database.open()
        return take(self, kind)

    monkeypatch.setattr(database.Database, "_try_lock", late)
    try:
        async with Spool(home, clock=clock) as spool:
            job = await spool.accept(new(), message())
            assert await quicker.job(job.id) == job
        assert aside(home) == []
    finally:
        quicker._storage.database.close()


async def test_another_process_is_rebuilding_it(home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(home, clock)
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.1)
    with (home / "spool" / "open.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SpoolError, match="is being put in order by another process") as caught:
            async with Spool(home, clock=clock):
                raise AssertionError
    assert caught.value.cause == "spool_busy"
    async with Spool(home, clock=clock) as spool:
        assert len(await spool.jobs()) == 3


async def test_damage_found_later(home: Path, clock: Clock) -> None:
    async with Spool(home, clock=clock) as spool:
        await spool.accept(new(), message())
    async with Spool(home, clock=clock) as spool:
        path = home / "spool" / database.NAME
        with path.open("r+b") as file:
            file.write(os.urandom(path.stat().st_size))
        await spool._storage.read(lambda repositories: repositories.connection.execute("PRAGMA shrink_memory"))
        with pytest.raises(SpoolError, match="damaged") as caught:
            await spool.jobs()
        assert caught.value.cause == "spool_unreadable"


@pytest.mark.parametrize("replaced", [False, True])
async def test_removed_while_it_is_open(home: Path, clock: Clock, *, replaced: bool) -> None:
    # What is written into a file without a name is gone with the process: nothing may be accepted, or called sent.
    path = home / "spool" / database.NAME
    async with Spool(home, clock=clock) as spool, spool.delivery_lock():
        await spool.accept(new(), message())
        await spool.claim("smtp")
        copy = path.read_bytes()
        path.unlink()
        if replaced:
            path.write_bytes(copy)
        for _ in range(2):
            with pytest.raises(SpoolError, match="start it again") as caught:
                await spool.accept(new(), message())
            assert caught.value.cause == "spool_unreadable"
        with pytest.raises(SpoolError, match="start it again"):
            await spool.hand_over(1)
        with pytest.raises(SpoolError, match="start it again"):
            await anext(spool.changes())
        assert len(files(home)) == 1


async def test_a_newer_version(home: Path, clock: Clock) -> None:
    await fill(home, clock)
    path = home / "spool" / database.NAME
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=999")
    before = path.read_bytes()
    with pytest.raises(SpoolError, match=r"newer version of mailslot: update mailslot. Nothing is lost\.$") as caught:
        async with Spool(home, clock=clock):
            raise AssertionError
    assert caught.value.cause == "spool_unreadable"
    assert path.read_bytes() == before
    assert len(files(home)) == 3


async def test_a_version_from_before_the_first_release(home: Path, clock: Clock) -> None:
    await fill(home, clock)
    path = home / "spool" / database.NAME
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={min(schema.MIGRATIONS) - 1}")
    before = path.read_bytes()
    with pytest.raises(SpoolError, match=r"from before the first release\. Rename it") as caught:
        async with Spool(home, clock=clock):
            raise AssertionError
    assert caught.value.cause == "spool_unreadable"
    assert path.read_bytes() == before
    path.rename(path.with_suffix(".old"))
    async with Spool(home, clock=clock) as spool:
        assert len(await spool.jobs()) == len(await spool.ledger.mails()) + 1 == 2


async def test_an_older_version_is_migrated(home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(home, clock)
    step = ("ALTER TABLE jobs ADD COLUMN colour TEXT", "UPDATE jobs SET colour = 'grey'")
    newest = max(schema.MIGRATIONS) + 1
    monkeypatch.setattr(schema, "MIGRATIONS", {**schema.MIGRATIONS, newest: step})

    async def open_it() -> None:
        async with Spool(home, clock=clock) as spool:
            assert len(await spool.jobs()) == 3

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(open_it)
    with closing(sqlite3.connect(home / "spool" / database.NAME)) as connection:
        assert connection.execute("SELECT DISTINCT colour FROM jobs").fetchall() == [("grey",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (newest,)


async def test_a_failed_migration_keeps_the_old_version(
    home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(home, clock)
    with monkeypatch.context() as patch:
        step = ("UPDATE jobs SET state = 'x'", "NONSENSE")
        patch.setattr(schema, "MIGRATIONS", {**schema.MIGRATIONS, max(schema.MIGRATIONS) + 1: step})
        with pytest.raises(SpoolError):
            async with Spool(home, clock=clock):
                raise AssertionError
    async with Spool(home, clock=clock) as spool:
        assert (await spool.count_by_state())["sent"] == 1


async def test_a_moved_home(home: Path, clock: Clock, tmp_path: Path) -> None:
    await fill(home, clock)
    shutil.move(home, tmp_path / "elsewhere")
    async with Spool(tmp_path / "elsewhere", clock=clock) as spool, spool.delivery_lock():
        recovered = await spool.recover()
        assert (recovered.failed, recovered.lost_mails, recovered.files) == ((), (), 0)
        assert await octets(spool.content(await spool.job(3))) == MESSAGE
        mail = await spool.ledger.mail(1)
        assert mail.path is not None
        assert mail.path.read_bytes() == MAIL


async def test_a_relative_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.parent)
    async with Spool(type(home)("home")) as spool:
        monkeypatch.chdir("/")
        await spool.accept(new(), message())
    assert len(files(home)) == 1


async def test_many_processes_open_it_for_the_first_time(home: Path, clock: Clock) -> None:
    async def accept() -> None:
        async with Spool(home, clock=clock) as spool:
            await spool.accept(new(), message())

    async with anyio.create_task_group() as group:
        for _ in range(12):
            group.start_soon(accept)
    async with Spool(home, clock=clock) as spool:
        assert len(await spool.jobs()) == 12
    assert aside(home) == []


async def test_a_failed_transaction_changes_nothing(spool: Spool) -> None:
    def work(repositories: SqliteRepositories) -> None:
        repositories.connection.execute("INSERT INTO losses (at) VALUES (1)")
        raise KeyError

    with pytest.raises(KeyError):
        await spool._storage.write(work)
    assert not await spool.losses()


async def test_another_process_holds_the_lock(spool: Spool, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.1)
    async with Spool(home) as other:
        with closing(sqlite3.connect(home / "spool" / database.NAME, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(SpoolError, match="in use by another process") as caught:
                await other.accept(new(), message())
            assert caught.value.cause == "spool_busy"
            assert caught.value.retryable
            # Reading goes on.
            assert await other.jobs() == []
        assert files(home) == []


async def test_use_after_close(home: Path) -> None:
    spool = Spool(home)
    with pytest.raises(RuntimeError, match="not open"):
        await spool.jobs()
    async with spool:
        await spool.jobs()
    with pytest.raises(RuntimeError, match="not open"):
        await spool.jobs()


async def test_each_commit_is_flushed(spool: Spool) -> None:
    def work(repositories: SqliteRepositories) -> tuple[object, ...]:
        return (
            repositories.connection.execute("PRAGMA synchronous").fetchone()[0],
            repositories.connection.execute("PRAGMA journal_mode").fetchone()[0],
        )

    assert await spool._storage.read(work) == (2, "wal")
