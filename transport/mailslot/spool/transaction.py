"""Transactions that change jobs and mails: the only place where the state of a job is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mailslot.spool import transitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mailslot.spool.job import Job
    from mailslot.spool.repositories import Jobs, Mails, Repositories
    from mailslot.spool.storage import Storage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SpoolTransaction:
    """The context of one transaction.

    Attributes:
        repositories: the database, in a transaction.
        now: the current time.
    """

    repositories: Repositories
    now: float

    @property
    def jobs(self) -> Jobs:
        """The jobs."""
        return self.repositories.jobs

    @property
    def mails(self) -> Mails:
        """The mails."""
        return self.repositories.mails

    def step(self, job_id: int, step: Callable[[Job, float], Job]) -> Job:
        """Apply a function of `mailslot.spool.transitions` to a job; return the changed job."""
        return self.store(step(self.jobs.load(job_id), self.now))

    def store(self, job: Job) -> Job:
        """Store a changed job and return it; release the file of one that was sent or cancelled."""
        is_over = job.state in {"sent", "cancelled"}
        if is_over and (file := self.jobs.file_of(job.id)[0]) is not None:
            self.repositories.remove_file(file)
        self.jobs.store(job, keeps_message=not is_over)
        return job

    def store_all(self, jobs: Iterable[Job]) -> int:
        """Store changed jobs; return how many there are."""
        count = 0
        for job in jobs:
            self.store(job)
            count += 1
        return count

    def reclaim_jobs(self) -> list[int]:
        """Take all jobs back from deliveries that have died; return those that are queued again."""
        requeued: list[int] = []
        for job in self.jobs.claimed():
            self.step(job.id, transitions.reclaim)
            if job.state == "sending":
                requeued.append(job.id)
        return requeued

    def release_message(self, job_id: int) -> None:
        """Remove the message of a job once the transaction is committed."""
        file, _ = self.jobs.file_of(job_id)
        if file is not None:
            self.jobs.set_file(job_id, None)
            self.repositories.remove_file(file)

    def release_mail(self, mail_id: int) -> None:
        """Remove the file of a mail once the transaction is committed."""
        file = self.mails.file_of(mail_id)
        if file is not None:
            self.mails.clear_file(mail_id)
            self.repositories.remove_file(file)


def run_transaction(storage: Storage, now: float, work: Callable[[SpoolTransaction], T], *, durable: bool = True) -> T:
    """Run `work` as one transaction. Blocks; for `durable` see `mailslot.spool.storage.Storage.write_blocking`."""
    return storage.write_blocking(lambda repositories: work(SpoolTransaction(repositories, now)), durable=durable)
