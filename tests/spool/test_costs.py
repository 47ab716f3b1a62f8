"""What a job and a mail cost the disk: counted, since a disk's speed is its own. Not less, either: each is promised."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from itertools import groupby
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from costs import Commits
from mailslot.spool.acceptance import EarlierKey
from mailslot.spool.folder.database import Database
from mailslot.spool.job_file import JobFile
from mailslot.spool.spool import Spool
from spool.conftest import message, new

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AT_ONCE = 12
"""Messages that are accepted at once, on fewer threads than the loops have."""


class Costs:
    """What was done to the disk.

    Attributes:
        syncs: of files and folders; SQLite's own are as many as commits.
        commits: transactions that write.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.syncs = self.commits = 0
        sync, write = os.fsync, Database.write_blocking

        def counted_sync(descriptor: int) -> None:
            self.syncs += 1
            sync(descriptor)

        def counted_write(
            database: Database, work: Callable[..., Any], *name_file: Callable[[], None], durable: bool = True
        ) -> Any:
            self.commits += 1
            return write(database, work, *name_file, durable=durable)

        patch.setattr(os, "fsync", counted_sync)
        patch.setattr(Database, "write_blocking", counted_write)

    def since(self) -> tuple[int, int]:
        """Return the syncs and commits since the last call."""
        found = self.syncs, self.commits
        self.syncs = self.commits = 0
        return found


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> Costs:
    return Costs(monkeypatch)


async def test_cost_of_a_job(spool: Spool, costs: Costs) -> None:
    job = await spool.accept(new(), message())
    assert costs.since() == (2, 1), "its file, the folder that names it, and its row"
    async with spool.delivery_lock():
        await spool.claim("smtp")
        await spool.hand_over(job.id)
        await spool.record_replies(job.id, accepted=["to@example.com"])
    assert costs.since() == (0, 3), "one commit a state"


async def test_cost_of_a_message_that_streams_in(spool: Spool, costs: Costs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one asks for room; those that follow at once read nothing before they are stored."""
    reads, read = 0, Database.read_blocking

    def counted_read(database: Database, work: Callable[..., Any]) -> Any:
        nonlocal reads
        reads += 1
        return read(database, work)

    monkeypatch.setattr(Database, "read_blocking", counted_read)
    for _ in range(3):
        await spool.acceptance.check_room(9)
        file = JobFile(spool.acceptance, new())
        await file.write(b"a: b\r\n\r\nc")
        assert costs.since() == (0, 0)
        await file.commit(new(), smtputf8=False)
        assert costs.since() == (2, 1), "its file, the folder that names it, and its row"
    assert reads == 1


async def test_statements_of_a_job(spool: Spool) -> None:
    """While one is executed, others that share the transaction wait; and so does its thread, for its turn in Python."""
    statements: list[str] = []
    connection = spool._storage.database._connection
    assert connection is not None

    def verbs() -> list[str]:
        # A statement is told once more for each trigger that it has run.
        found = [each.split()[0] for each, _ in groupby(statements) if not each.startswith("PRAGMA")]
        statements.clear()
        return found

    file = JobFile(spool.acceptance, new())
    await file.write(b"a: b\r\n\r\nc")
    connection.set_trace_callback(statements.append)
    job = await file.commit(new(key="now"), smtputf8=False, earlier=EarlierKey("before", 0.0))
    # The last one tells the highest ids.
    assert verbs() == ["BEGIN", "SELECT", "INSERT", "INSERT", "COMMIT", "SELECT"]
    async with spool.delivery_lock():
        await spool.claim("smtp")
        assert verbs() == ["BEGIN", "SELECT", "UPDATE", "COMMIT", "SELECT"]
        await spool.hand_over(job.id)
        assert verbs() == ["BEGIN", "SELECT", "UPDATE", "COMMIT", "SELECT"]
        await spool.record_replies(job.id, accepted=["to@example.com"])
        assert verbs() == ["BEGIN", "SELECT", "SELECT", "UPDATE", "COMMIT", "SELECT"]
    connection.set_trace_callback(None)


async def test_a_claim_that_does_not_wait_for_the_disk(spool: Spool) -> None:
    connection, commits = spool._storage.database._connection, Commits()
    assert connection is not None
    connection.set_trace_callback(commits.note)
    async with spool.delivery_lock():
        for _ in range(2):
            job = await spool.accept(new(), message())
            await spool.claim("smtp", durable=False)
            assert connection.execute("PRAGMA synchronous").fetchone()[0] == 1
            await spool.hand_over(job.id)
            assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
            await spool.record_replies(job.id, accepted=["to@example.com"])
    assert commits.levels == ["FULL", "NORMAL", "FULL", "FULL"] * 2


async def test_a_claim_that_a_power_cut_has_undone(spool: Spool, home: Path, tmp_path: Path) -> None:
    """The log as the disk has it then: without what was not synced."""
    log = home / "spool" / "spool.db-wal"
    job = await spool.accept(new(), message())
    synced = log.stat().st_size
    async with spool.delivery_lock():
        claimed = await spool.claim("smtp", durable=False)
        assert claimed is not None
        assert log.stat().st_size > synced
        shutil.copytree(home, tmp_path / "after")
    os.truncate(tmp_path / "after" / "spool" / "spool.db-wal", synced)
    (tmp_path / "after" / "spool" / "spool.db-shm").unlink(missing_ok=True)
    async with Spool(tmp_path / "after") as after, after.delivery_lock():
        assert (await after.recover()).requeued == ()
        assert await after.job(job.id) == job


async def test_cost_of_a_fetched_mail(spool: Spool, costs: Costs) -> None:
    ledger = spool.ledger
    async with ledger.polling_lock("status-pop"):
        costs.since()
        async with ledger.receive("status-pop", "uid", 9) as file:
            await ledger.count_fetch("status-pop", "uid")
            await file.write(b"a: b\r\n\r\nc")
        assert costs.since() == (2, 2), "its file, its folder, its row; and before its first octet, the try"
        assert file.mail is not None
        await ledger.begin_handling(file.mail.id)
        await ledger.mark_done(file.mail.id)
        assert costs.since() == (0, 2)


async def test_cost_of_jobs_accepted_at_once(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk takes the first one's, all others collect, and then share one sync and one commit."""
    database, sync = spool._storage.database, os.fsync
    costs = {"files": 0, "folders": 0, "commits": 0}

    def counted_sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            costs["folders"] += 1
            if costs["folders"] == 1:
                wait_until(lambda: database._write_grouped.waiting == AT_ONCE - 1)
        else:
            costs["files"] += 1
        sync(descriptor)

    def counted_transaction(statement: str) -> None:
        if statement == "BEGIN IMMEDIATE":
            costs["commits"] += 1

    monkeypatch.setattr(os, "fsync", counted_sync)
    assert database._connection is not None
    database._connection.set_trace_callback(counted_transaction)
    async with anyio.create_task_group() as group:
        for number in range(AT_ONCE):
            group.start_soon(spool.accept, new(key=str(number)), message())
    assert costs == {"files": AT_ONCE, "folders": 2, "commits": 2}
    assert len(await spool.jobs()) == AT_ONCE


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for other threads, in a thread."""
    while not condition():
        threading.Event().wait(0.001)
