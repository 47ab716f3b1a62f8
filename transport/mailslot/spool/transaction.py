"""Transactions that change jobs and mails: the only place where the state of a job is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from mailslot.spool import job_rows
from mailslot.spool.files import mark_released, remove_file

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mailslot.spool.database import Database
    from mailslot.spool.job import Job

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SpoolTransaction:
    """The context of one transaction.

    Attributes:
        connection: the database, in a transaction.
        now: the current time.
        folder: the spool's folder.
        released_files: the files to remove once the transaction is committed.
    """

    connection: sqlite3.Connection
    now: float
    folder: Path
    released_files: list[str] = field(default_factory=list[str])

    def step(self, job_id: int, step: Callable[[Job, float], Job]) -> Job:
        """Apply a function of `mailslot.spool.transitions` to a job; return the changed job."""
        return self.store(step(job_rows.load(self.connection, job_id), self.now))

    def store(self, job: Job) -> Job:
        """Store a changed job and return it; release the file of one that was sent or cancelled."""
        if job.state in {"sent", "cancelled"}:
            self.release_file(job.id)
        job_rows.store(self.connection, job)
        return job

    def store_all(self, jobs: Iterable[Job]) -> int:
        """Store changed jobs; return how many there are."""
        count = 0
        for job in jobs:
            self.store(job)
            count += 1
        return count

    def release_file(self, job_id: int) -> None:
        """Remove the file of a job once the transaction is committed."""
        file, _ = job_rows.file_of(self.connection, job_id)
        if file is not None:
            self.connection.execute("UPDATE jobs SET file = NULL WHERE id = ?", (job_id,))
            self.discard(file)

    def discard(self, file: str) -> None:
        """Remove a file that no row refers to once the transaction is committed."""
        # Mark it before the commit: after a crash it must not be taken for a file of another database.
        mark_released(self.folder / file)
        self.released_files.append(file)


def run_transaction(database: Database, folder: Path, now: float, work: Callable[[SpoolTransaction], T]) -> T:
    """Run `work` as one transaction, then remove the released files. Blocks."""
    released: list[str] = []
    result = database.write_blocking(lambda connection: work(SpoolTransaction(connection, now, folder, released)))
    for name in released:
        remove_file(folder / name)
    return result
