"""Expiring jobs that have waited too long, and deleting old files, rows and keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from mailslot.spool import job_rows, mail_rows, transitions
from mailslot.spool.transaction import SpoolTransaction, run_transaction

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.spool.database import Database
    from mailslot.spool.limits import SpoolLimits

_ENDED: Final = "state IN ('sent', 'failed', 'cancelled', 'in_doubt')"


def prune(database: Database, folder: Path, limits: SpoolLimits, now: float) -> None:
    """Expire and delete what is due. Blocks; each step has its own transaction, so that none is long.

    Raises:
        SpoolError: it could not be read or written.
    """
    for work in (_expire, _release_messages, _forget_jobs, _forget_keys, _forget_mails):
        run_transaction(database, folder, now, partial(work, limits))


def _expire(limits: SpoolLimits, transaction: SpoolTransaction) -> None:
    """Fail expired jobs, except those that were never attempted; time spent in `held` does not count."""
    found = transaction.connection.execute(
        "SELECT * FROM jobs WHERE (state IN ('queued', 'deferred') AND expires_at <= ? AND attempts > 0) "
        "OR (state = 'held' AND changed_at <= ?)",
        (transaction.now, transaction.now - limits.max_lifetime),
    ).fetchall()
    for row in found:
        job = job_rows.job_of(row)
        hours = (limits.max_lifetime if job.state == "held" else row["lifetime"]) / 3600
        sentence = f"It could not be delivered within {hours:,.3g} hours. {job.sentence}".strip()
        transaction.store(
            transitions.fail(job, transaction.now, transitions.AttemptFailure(job.cause or "expired", sentence))
        )


def _release_messages(limits: SpoolLimits, transaction: SpoolTransaction) -> None:
    found = transaction.connection.execute(
        "SELECT id FROM jobs WHERE file IS NOT NULL AND ((state = 'failed' AND changed_at < ?) "
        "OR (state = 'in_doubt' AND NOT delivering AND changed_at < ?))",
        (
            transaction.now - limits.failed_retention,
            transaction.now - max(limits.failed_retention, limits.max_lifetime),
        ),
    ).fetchall()
    for row in found:
        transaction.release_file(row["id"])


def _forget_jobs(limits: SpoolLimits, transaction: SpoolTransaction) -> None:
    connection = transaction.connection
    found = connection.execute(
        f"SELECT id, state, changed_at FROM jobs WHERE {_ENDED} "  # noqa: S608 - our own words
        "AND (file IS NULL OR state != 'in_doubt') ORDER BY changed_at DESC, id DESC"
    ).fetchall()
    for place, row in enumerate(found):
        if place >= limits.max_finished_jobs or row["changed_at"] < transaction.now - limits.sent_retention:
            transaction.release_file(row["id"])
            connection.execute("UPDATE keys SET state = ? WHERE job = ?", (row["state"], row["id"]))
            connection.execute("DELETE FROM jobs WHERE id = ?", (row["id"],))


def _forget_keys(limits: SpoolLimits, transaction: SpoolTransaction) -> None:
    """Delete old keys, and the oldest beyond the maximum, but never one whose job still has its row."""
    transaction.connection.execute(
        "DELETE FROM keys WHERE state IS NOT NULL AND (at < ? OR (pipeline, key) IN "
        "(SELECT pipeline, key FROM keys ORDER BY at DESC LIMIT -1 OFFSET ?))",
        (transaction.now - limits.key_retention, limits.max_keys),
    )


def _forget_mails(limits: SpoolLimits, transaction: SpoolTransaction) -> None:
    connection = transaction.connection
    old = connection.execute(
        "SELECT id FROM mails WHERE file IS NOT NULL AND state = 'set_aside' AND changed_at < ?",
        (transaction.now - limits.set_aside_retention,),
    ).fetchall()
    for row in old:
        mail_rows.release_file(transaction, row["id"])
    # While the server lists a mail, and for some time after its handling, its digest is kept to recognize it.
    connection.execute(
        "DELETE FROM mails WHERE state != 'fetched' AND file IS NULL AND changed_at < ? "
        "AND id NOT IN (SELECT mail FROM uids WHERE mail IS NOT NULL)",
        (transaction.now - limits.uid_retention,),
    )
