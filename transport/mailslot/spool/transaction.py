"""A transaction that changes jobs and mails: the one place where a job's state is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from mailslot.spool import rows
from mailslot.spool.files import mark_given_up, remove

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.spool.database import Database
    from mailslot.spool.job import Job

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Transaction:
    """What the work of one transaction is done with.

    Attributes:
        connection: the database, in a transaction.
        now: the time.
        folder: the spool's folder.
        given_up: the files that nobody needs once the transaction is on the disk.
    """

    connection: sqlite3.Connection
    now: float
    folder: Path
    given_up: list[str] = field(default_factory=list[str])

    def step(self, job_id: int, step: Callable[[Job, float], Job]) -> Job:
        """Read a job, and write what `step`, of `mailslot.spool.transitions`, makes of it; return that."""
        return self.store(step(rows.load(self.connection, job_id), self.now))

    def store(self, job: Job) -> Job:
        """Write a job in its new state; return it. What was sent or cancelled needs its file no more."""
        if job.state in {"sent", "cancelled"}:
            self.give_up_file(job.id)
        rows.store(self.connection, job)
        return job

    def give_up_file(self, job_id: int) -> None:
        """Have the file of a job removed."""
        file, _ = rows.file_of(self.connection, job_id)
        if file is not None:
            self.connection.execute("UPDATE jobs SET file = NULL WHERE id = ?", (job_id,))
            self.discard(file)

    def discard(self, file: str) -> None:
        """Have a file removed that no row names any more."""
        # Before the commit: found after a crash, it must not pass for one that was accepted and is not known.
        mark_given_up(self.folder / file)
        self.given_up.append(file)


def run_transaction(database: Database, folder: Path, now: float, work: Callable[[Transaction], T]) -> T:
    """Run `work` as one transaction, then remove the files that were given up. Blocks."""
    given_up: list[str] = []
    result = database.transact(lambda connection: work(Transaction(connection, now, folder, given_up)))
    for name in given_up:
        remove(folder / name)
    return result
