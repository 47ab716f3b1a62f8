"""A transaction that moves jobs: the one place where a job's state is written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from mailslot.spool import rows
from mailslot.spool.files import mark_given_up, remove
from mailslot.spool.job import Event, Job, after

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.spool.database import Database

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """What a transaction works with.

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

    def move(self, event: Event, job: Job, new: Job) -> Job:
        """Write what `event` makes of `job`; return it.

        Args:
            event: what happens.
            job: the job as it is.
            new: the job as it is to be, but for its state.

        Raises:
            InputError: that does not happen to a job in its state.
        """
        state = after(event, job.state, job.id, delivering=job.delivering)
        new = replace(new, state=state, changed_at=self.now, delivering=event == "doubt")
        if new.state in {"sent", "cancelled"}:
            self.give_up_file(job.id)
        rows.store(self.connection, new)
        return new

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


def change(database: Database, folder: Path, now: float, work: Callable[[Change], T]) -> T:
    """Run `work` as one transaction, then remove the files that were given up. Blocks."""
    given_up: list[str] = []
    result = database.transact(lambda connection: work(Change(connection, now, folder, given_up)))
    for name in given_up:
        remove(folder / name)
    return result
