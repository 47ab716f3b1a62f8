"""The database is removed, replaced or damaged: no accepted job is lost silently, and no number is reused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailslot import InputError
from mailslot.spool.errors import SpoolError
from mailslot.spool.folder import adoption, database
from mailslot.spool.folder.files import mark_registered
from mailslot.spool.recovery import Recovery
from mailslot.spool.spool import Spool
from spool.conftest import MESSAGE, SMALL, Clock, files, message, new, octets

if TYPE_CHECKING:
    from collections.abc import Callable


def lose(home: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        (home / "spool" / f"{database.NAME}{suffix}").unlink(missing_ok=True)


async def accept(home: Path, clock: Clock, *subjects: str) -> None:
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        for subject in subjects:
            await spool.accept(new("a@example.com", subject=subject, key=subject), message())


async def lengths(home: Path, clock: Clock) -> tuple[int, int]:
    """The octets of the envelope in a job's file, and of the whole file."""
    await accept(home, clock, "a scan")
    [name] = files(home, ".job")
    content = (home / "spool" / name).read_bytes()
    lose(home)
    return content.index(b"\n") + 1, len(content)


CUTS: dict[str, Callable[[int, int], int]] = {
    "nothing is left": lambda _envelope, _size: 0,
    "one octet": lambda _envelope, _size: 1,
    "within the recipients": lambda envelope, _size: envelope // 2,
    "before the end of the envelope": lambda envelope, _size: envelope - 1,
    "behind the envelope": lambda envelope, _size: envelope,
    "one octet of the message": lambda envelope, _size: envelope + 1,
    "before the last octet": lambda _envelope, size: size - 1,
}


@pytest.mark.parametrize("cut", CUTS)
async def test_a_damaged_message_without_database_becomes_a_failed_job(home: Path, clock: Clock, cut: str) -> None:
    size = CUTS[cut](*await lengths(home, clock))
    [name] = files(home, ".job")
    (home / "spool" / name).chmod(0o600)
    os.truncate(home / "spool" / name, size)
    for _ in range(2):  # the list is lost once more
        async with Spool(home, limits=SMALL, clock=clock) as spool, spool.delivery_lock():
            await spool.recover()
            [job] = await spool.jobs()
            assert (job.state, job.cause, job.size) == ("failed", "spool_unreadable", size)
            assert f"What is left of it is {home / 'spool' / name}.damaged." in job.sentence
            assert (home / "spool" / f"{name}.damaged").stat().st_size == size
            if "recipients" not in cut and size > 200:
                assert (job.pipeline, job.via, job.subject) == ("scan", "smtp", "a scan")
                assert [each.address for each in job.recipients] == ["a@example.com"]
            elif size < 10:
                assert (job.pipeline, job.via, job.recipients) == ("unknown", "", ())
            with pytest.raises(InputError, match="not kept any more"):
                await spool.retry(job.id)
            [loss] = await spool.losses()
            assert (loss.found, loss.damaged, spool.recovered_count) == (0, 1, 0)
            # Who asks for the same once more is not told that it is there.
            assert (await spool.accept(new(key="a scan"), message())).id > job.id
            await spool.cancel((await spool.jobs())[0].id)
        lose(home)
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        clock.now += 8 * 86_400
        await spool.prune()
        assert files(home, ".damaged") == []


@pytest.mark.parametrize("how", ["removed", "truncated", "overwritten"])
async def test_job_numbers_continue_after_a_lost_database(home: Path, clock: Clock, how: str) -> None:
    async with Spool(home, clock=clock) as spool:
        for number in range(1, 8):
            job = await spool.accept(new(), message())
            assert job.id == number
            if number != 3:
                await spool.cancel(number)
        async with spool.ledger.receive("status-pop", "u1") as file:
            await file.write(MESSAGE)
    path = home / "spool" / database.NAME
    if how == "removed":
        lose(home)
    else:
        path.write_bytes(b"" if how == "truncated" else os.urandom(10_000))
    async with Spool(home, clock=clock) as spool:
        [job] = await spool.jobs()
        assert (job.id, job.state) == (8, "in_doubt")
        assert [mail.id for mail in await spool.ledger.mails()] == [2]
        assert (await spool.accept(new(), message())).id == 9
        assert await spool.ledger.was_lost()


async def test_a_lost_database_without_messages_is_reported(home: Path, clock: Clock) -> None:
    """What was handled must not be fetched and handled again by a first poll that takes everything."""
    async with Spool(home, clock=clock) as spool:
        await spool.cancel((await spool.accept(new(), message())).id)
        assert not await spool.ledger.was_lost()
    lose(home)
    async with Spool(home, clock=clock) as spool:
        assert await spool.ledger.was_lost()
        assert (await spool.accept(new(), message())).id == 2


async def test_an_older_copy_of_the_database_loses_no_job_and_reuses_no_number(home: Path, clock: Clock) -> None:
    await accept(home, clock, "before", "sent since")
    path = home / "spool" / database.NAME
    shutil.copy(path, home / "copy")
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        await spool.cancel(2)
        await spool.accept(new(subject="since"), message())
        await spool.cancel((await spool.accept(new(subject="ended"), message())).id)
        async with spool.ledger.receive("status-pop", "u1") as file:
            await file.write(MESSAGE)
    (home / "copy").replace(path)
    async with Spool(home, limits=SMALL, clock=clock) as spool, spool.delivery_lock():
        recovered = await spool.recover()
        assert (recovered.found, recovered.failed, recovered.files) == (2, (2,), 0)
        jobs = {job.subject: job for job in await spool.jobs()}
        assert {subject: job.state for subject, job in jobs.items()} == {
            "before": "queued",
            "sent since": "failed",
            "since": "in_doubt",
        }
        assert "it may have been sent already" in jobs["since"].sentence
        assert jobs["since"].id > 4
        assert await octets(spool.content(jobs["since"])) == MESSAGE
        assert [mail.state for mail in await spool.ledger.mails()] == ["set_aside"]
        assert await spool.recover() == Recovery()


async def test_a_damaged_message_missing_in_an_older_database(home: Path, clock: Clock) -> None:
    await accept(home, clock)
    shutil.copy(home / "spool" / database.NAME, home / "copy")
    await accept(home, clock, "since")
    (home / "copy").replace(home / "spool" / database.NAME)
    [name] = files(home, ".job")
    os.truncate(home / "spool" / name, 10)
    async with Spool(home, limits=SMALL, clock=clock) as spool, spool.delivery_lock():
        await spool.recover()
        [job] = await spool.jobs()
        assert (job.state, job.id) == ("failed", 2)


async def test_files_set_aside_by_an_earlier_version_are_reported(home: Path, clock: Clock) -> None:
    await accept(home, clock)
    envelope = {"version": 1, "pipeline": "fax", "via": "smtp"}
    (home / "spool" / "0.job.damaged").write_bytes(json.dumps(envelope).encode())
    async with Spool(home, clock=clock) as spool, spool.delivery_lock():
        assert (await spool.recover()).found == 1
        [job] = await spool.jobs()
        assert (job.state, job.pipeline) == ("failed", "fax")
        assert await spool.recover() == Recovery()


async def test_the_database_is_replaced_while_open(home: Path, clock: Clock) -> None:
    """The write-ahead log of the old database does not damage its replacement."""
    await accept(home, clock, "one")
    path = home / "spool" / database.NAME
    copy = path.read_bytes()
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        assert spool.loss_error is None
        for number in range(20):
            await spool.accept(new(subject=f"{number}"), message())
        path.with_name("other").write_bytes(copy)
        path.with_name("other").replace(path)
        with pytest.raises(database.DatabaseLostError):
            await spool.accept(new(), message())
        assert spool.loss_error is not None
    async with Spool(home, limits=SMALL, clock=clock) as spool, spool.delivery_lock():
        assert (await spool.recover()).found == 20
        assert sorted(job.id for job in await spool.jobs()) == [1, *range(22, 42)]


async def test_a_log_that_is_removed_while_it_is_open(home: Path, clock: Clock) -> None:
    """What the log holds goes into the database, whoever else has it open; nothing more is accepted."""
    path = home / "spool" / database.NAME
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        with closing(sqlite3.connect(path)) as other:
            for number in range(5):
                await spool.accept(new(subject=f"{number}"), message())
            assert other.execute("SELECT count(*) FROM jobs").fetchone() == (5,)
            path.with_name(f"{database.NAME}-wal").unlink()
            for _ in range(2):
                with pytest.raises(database.DatabaseLostError, match="start it again"):
                    await spool.accept(new(), message())
            with pytest.raises(database.DatabaseLostError):
                await spool.check()
            assert spool.loss_error is not None
            with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as alone:
                assert alone.execute("SELECT count(*) FROM jobs").fetchone() == (5,)
    async with Spool(home, limits=SMALL, clock=clock) as spool, spool.delivery_lock():
        assert (await spool.recover()).found == 0
        assert await spool.losses() == []
        assert {job.id: job.state for job in await spool.jobs()} == dict.fromkeys(range(1, 6), "queued")


async def test_an_index_that_is_removed_while_it_is_open(home: Path, clock: Clock) -> None:
    """The next process would make another one, and two processes would each overwrite what the other writes."""
    index = home / "spool" / f"{database.NAME}-shm"
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        await spool.accept(new(), message())
        versions = spool.file_versions()
        index.unlink()
        assert spool.file_versions() != versions
        with pytest.raises(database.DatabaseLostError, match=f"{index}, a part of the list of jobs, was removed"):
            await spool.check()
        with pytest.raises(database.DatabaseLostError, match="start it again"):
            await spool.accept(new(), message())
        assert spool.loss_error is not None
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        assert await spool.losses() == []
        assert [(job.id, job.state) for job in await spool.jobs()] == [(1, "queued")]


@pytest.mark.parametrize("checked", [database.NAME, f"{database.NAME}-wal", f"{database.NAME}-shm"])
async def test_the_folder_is_renamed_between_two_checks(
    home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, checked: str
) -> None:
    """It is the folder that is reported, not the first of its files that is missed."""
    stat = Path.stat

    def renamed_before(path: Path, **how: bool) -> os.stat_result:
        if path == home / "spool" / checked and home.exists():
            home.rename(home.with_name("renamed"))
        return stat(path, **how)

    async with Spool(home, limits=SMALL, clock=clock) as spool:
        await spool.accept(new(), message())
        with monkeypatch.context() as patch:
            patch.setattr(Path, "stat", renamed_before)
            with pytest.raises(database.DatabaseLostError, match=f"The folder {home / 'spool'} is not there any more"):
                await spool.check()
        with pytest.raises(database.DatabaseLostError, match="Bring it back"):
            await spool.accept(new(), message())
    assert not list(home.with_name("renamed").glob("spool/*.damaged-*"))
    home.with_name("renamed").rename(home)
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        assert await spool.losses() == []
        assert [(job.id, job.state) for job in await spool.jobs()] == [(1, "queued")]


@pytest.mark.parametrize("noticed", ["in use", "at the end"])
async def test_a_log_that_is_replaced_while_it_is_open(home: Path, clock: Clock, noticed: str) -> None:
    """Two logs would be mixed up in one database: it is set aside, and a new list made from the messages."""
    path = home / "spool" / database.NAME
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        for number in range(5):
            await spool.accept(new(subject=f"{number}"), message())
        path.with_name("other").touch()
        path.with_name("other").replace(path.with_name(f"{database.NAME}-wal"))
        if noticed == "in use":
            with pytest.raises(database.DatabaseLostError, match="start it again"):
                await spool.accept(new(), message())
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        assert [loss.found for loss in await spool.losses()] == [5]
        jobs = await spool.jobs()
        assert {job.subject for job in jobs} == set("01234")
        assert min(job.id for job in jobs) > 5


async def test_a_spool_of_an_earlier_version(home: Path, clock: Clock) -> None:
    """Without numbers beside it, and without marks at the files."""
    await accept(home, clock, "one", "two")
    (home / "spool" / "numbers").unlink()
    for name in files(home):
        (home / "spool" / name).chmod(0o600)
    async with Spool(home, limits=SMALL, clock=clock) as spool, spool.delivery_lock():
        assert await spool.recover() == Recovery()
        assert await spool.losses() == []
        assert {(home / "spool" / name).stat().st_mode & 0o777 for name in files(home)} == {0o400}
        assert (await spool.accept(new(), message())).id == 3
    lose(home)
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        assert sorted(job.id for job in await spool.jobs()) == [4, 5, 6]


@pytest.mark.parametrize("garbage", [b"", b"jobs", b"jobs 99999999999999999999\n", b"\0" * 50, b"other 7\n", b"\xff\n"])
async def test_an_unreadable_number_file(home: Path, clock: Clock, garbage: bytes) -> None:
    await accept(home, clock, "one")
    (home / "spool" / "numbers").write_bytes(garbage)
    await accept(home, clock, "two")
    async with Spool(home, clock=clock) as spool:
        assert sorted(job.id for job in await spool.jobs()) == [1, 2]


@pytest.mark.parametrize(
    "damage", ["recipients = '['", "notes = 'x'", "state = 'quoted'", "subject = CAST(x'ff' AS TEXT)"]
)
async def test_a_damaged_row(home: Path, clock: Clock, damage: str) -> None:
    """Which the database does not notice: no job goes, and the others can still be read."""
    await accept(home, clock, "one", "two")
    with closing(sqlite3.connect(home / "spool" / database.NAME)) as connection, connection:
        connection.execute(f"UPDATE jobs SET {damage} WHERE id = 2")
    async with Spool(home, clock=clock) as spool:
        jobs = await spool.jobs()
        assert len(jobs) == 2
        assert {job.state for job in jobs} == ({"queued"} if "subject" in damage else {"in_doubt"})
        assert {each.address for job in jobs for each in job.recipients} == {"a@example.com"}


async def test_a_mail_recognized_by_its_digest_is_not_recovered_twice(home: Path, clock: Clock) -> None:
    async with Spool(home, clock=clock) as spool, spool.delivery_lock():
        async with spool.ledger.receive("status-pop", "u1") as file:
            await file.write(MESSAGE)
        copy = home / "spool" / "0.status-pop.mail"
        copy.write_bytes(MESSAGE)
        mark_registered(copy)
        recovered = await spool.recover()
        assert (recovered.found, recovered.files) == (0, 1)
        assert len(await spool.ledger.mails()) == 1


def add_foreign_entries(home: Path) -> None:
    """Put into the folder what a person, a program that copies files, or a damaged file system leaves there."""
    folder = home / "spool"
    (folder / "folder.job").mkdir()
    os.mkfifo(folder / "pipe.mail")
    (folder / ".#spool.db").symlink_to("somebody@machine.1234")
    (folder / "lost.job").symlink_to("nowhere")
    (folder / "loop.job").symlink_to("loop.job")
    (folder / "below.job").symlink_to("spool.db/file")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.job")).write_bytes(b"")


async def test_what_is_no_message_keeps_none_from_being_sent(home: Path, clock: Clock) -> None:
    await accept(home, clock, "a scan")
    add_foreign_entries(home)
    async with Spool(home, limits=SMALL, clock=clock) as spool, spool.delivery_lock():
        assert await spool.recover() == Recovery()
        assert await spool.claim("smtp") is not None


async def test_what_is_no_message_keeps_none_from_being_found_again(home: Path, clock: Clock) -> None:
    await accept(home, clock, "a scan")
    add_foreign_entries(home)
    lose(home)
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        assert [(job.id, job.state) for job in await spool.jobs()] == [(2, "in_doubt")]


async def test_a_message_that_is_not_ours_to_read_is_kept(
    home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may change its owner back."""
    await accept(home, clock, "a scan")
    lose(home)
    before = files(home)

    def failing(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(adoption, "_read", failing)
        with pytest.raises(SpoolError):
            async with Spool(home, limits=SMALL, clock=clock):
                raise AssertionError
    assert {path for path in files(home) if path.endswith(".job")} == {path for path in before if path.endswith(".job")}
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        assert [job.state for job in await spool.jobs()] == ["in_doubt"]


async def test_a_message_that_the_disk_cannot_read_keeps_no_other_from_being_found_again(
    home: Path, clock: Clock
) -> None:
    await accept(home, clock, "a scan")
    # Reading it fails, as on a disk with a fault.
    (home / "spool" / "bad.job").symlink_to("/proc/self/mem")
    (home / "spool" / "bad.fax-pop.mail").symlink_to("/proc/self/mem")
    lose(home)
    async with Spool(home, limits=SMALL, clock=clock) as spool:
        assert {job.state for job in await spool.jobs()} == {"in_doubt", "failed"}
        [mail] = await spool.ledger.mails("fax-pop")
        assert mail.state == "set_aside"
