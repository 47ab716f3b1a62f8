"""Expiring jobs that have waited too long, and deleting old files, rows and keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mailslot.spool import transitions
from mailslot.spool.transaction import SpoolTransaction, run_transaction

if TYPE_CHECKING:
    from mailslot.spool.limits import SpoolLimits
    from mailslot.spool.storage import Storage


def prune(storage: Storage, limits: SpoolLimits, now: float) -> None:
    """Expire and delete what is due. Blocks; each step has its own transaction, so that none is long.

    Args:
        storage: the spool's storage.
        limits: for how long what is kept.
        now: the time in seconds since 1970.

    Raises:
        SpoolError: it could not be read or written.
    """
    expire(storage, limits, now)
    for work in (_release_messages, _forget_jobs, _forget_keys, _forget_mails):
        run_transaction(storage, now, partial(work, limits))


def expire(storage: Storage, limits: SpoolLimits, now: float) -> None:
    """Fail the jobs that have waited too long. Blocks.

    Raises:
        SpoolError: it could not be read or written.
    """
    # There are seldom any, and looking needs no commit.
    if storage.read_blocking(lambda repositories: repositories.jobs.expired(now, now - limits.max_lifetime)):
        run_transaction(storage, now, partial(_expire, limits))


def _expire(limits: SpoolLimits, transaction: SpoolTransaction) -> None:
    """Fail expired jobs, except those that were never attempted; time spent in `held` does not count."""
    for job, lifetime in transaction.jobs.expired(transaction.now, transaction.now - limits.max_lifetime):
        hours = (limits.max_lifetime if job.state == "held" else lifetime) / 3600
        sentence = f"It could not be delivered within {hours:,.3g} hours. {job.sentence}".strip()
        transaction.store(
            transitions.fail(job, transaction.now, transitions.AttemptFailure(job.cause or "expired", sentence))
        )


def _release_messages(limits: SpoolLimits, transaction: SpoolTransaction) -> None:
    failed_before = transaction.now - limits.failed_retention
    doubtful_before = transaction.now - max(limits.failed_retention, limits.max_lifetime)
    for job_id in transaction.jobs.releasable(failed_before, doubtful_before):
        transaction.release_message(job_id)


def _forget_jobs(limits: SpoolLimits, transaction: SpoolTransaction) -> None:
    for place, (job_id, state, changed_at) in enumerate(transaction.jobs.ended()):
        if place >= limits.max_finished_jobs or changed_at < transaction.now - limits.sent_retention:
            transaction.release_message(job_id)
            transaction.jobs.delete(job_id, state)


def _forget_keys(limits: SpoolLimits, transaction: SpoolTransaction) -> None:
    """Delete old keys, and the oldest beyond the maximum, but never one whose job still has its row."""
    transaction.jobs.forget_keys(transaction.now - limits.key_retention, limits.max_keys)


def _forget_mails(limits: SpoolLimits, transaction: SpoolTransaction) -> None:
    for mail_id in transaction.mails.set_aside_before(transaction.now - limits.set_aside_retention):
        transaction.release_mail(mail_id)
    # While the server lists a mail, and for some time after its handling, its digest is kept to recognize it.
    transaction.mails.forget_handled(transaction.now - limits.uid_retention)
