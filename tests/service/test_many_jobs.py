"""Many jobs at once. Some task is always busy, so this module does not use virtual time."""

from __future__ import annotations

import gc
import os
import tracemalloc
from typing import TYPE_CHECKING

from mailslot.spool.limits import SpoolLimits
from service.sending_device import run_sending_device

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.spool.folder.storage import SqliteRepositories
    from mailslot.spool.job import Job
    from mailslot.spool.spool import Spool


async def test_memory_does_not_grow_with_the_number_of_jobs(tmp_path: Path) -> None:
    async with run_sending_device(tmp_path) as (harness, sandbox):
        job = await harness.accept()
        await _multiply(harness.spool, tmp_path / "spool", job, SpoolLimits().max_jobs)
        assert (await harness.spool.count_by_state())["queued"] == 10_000
        async with harness.delivering():
            await harness.until_true(lambda: len(sandbox.submissions) > 50)
            tracemalloc.start()
            try:
                gc.collect()
                begun, before = len(sandbox.submissions), tracemalloc.get_traced_memory()[0]
                await harness.until_true(lambda: len(sandbox.submissions) > begun + 150, seconds=600)
                gc.collect()
                grown = tracemalloc.get_traced_memory()[0] - before
                # The sandbox keeps what it took; nobody else keeps anything.
                kept = sum(len(each.content) + 3_000 for each in sandbox.submissions[begun:])
            finally:
                tracemalloc.stop()
        assert grown - kept < 1_000_000, (grown, kept)


async def _multiply(spool: Spool, folder: Path, job: Job, times: int) -> None:
    """Make one job into many, whose files share their octets: accepting as many takes half a minute."""
    [name] = [name for name in os.listdir(folder) if name.endswith(".job")]  # noqa: PTH208 - in one directory
    columns = (
        "state, via, pipeline, next_attempt, changed_at, created_at, expires_at, lifetime, attempts, doubts, start, "
        "size, eight_bit, smtputf8, cause, message_id, sender, subject, sentence, reply, notes, recipients"
    )

    def work(repositories: SqliteRepositories) -> None:
        for number in range(1, times):
            copy = f"{number}-{name}"
            os.link(folder / name, folder / copy)
            query = f"INSERT INTO jobs (file, {columns}) SELECT ?, {columns} FROM jobs WHERE id = ?"
            repositories.connection.execute(query, (copy, job.id))

    await spool._storage.write(work)
