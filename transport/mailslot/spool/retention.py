"""What waited too long is given up, and what ended long ago is forgotten."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from mailslot.spool import mail_rows, rows, transitions
from mailslot.spool.transaction import Transaction, run_transaction

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.spool.database import Database
    from mailslot.spool.limits import Limits

_ENDED: Final = "state IN ('sent', 'failed', 'cancelled', 'in_doubt')"


def prune(database: Database, folder: Path, limits: Limits, now: float) -> None:
    """Give up and forget. Blocks; each kind is a transaction of its own, so that none is long.

    Raises:
        SpoolError: it could not be read or written.
    """
    for work in (_expire, _give_up_messages, _forget_jobs, _forget_keys, _forget_mails):
        run_transaction(database, folder, now, partial(work, limits))


def _expire(limits: Limits, transaction: Transaction) -> None:
    """Fail what has waited past its time; one that was never tried gets its first attempt, one held keeps its time."""
    found = transaction.connection.execute(
        "SELECT * FROM jobs WHERE (state IN ('queued', 'deferred') AND expires_at <= ? AND attempts > 0) "
        "OR (state = 'held' AND changed_at <= ?)",
        (transaction.now, transaction.now - limits.lifetime),
    ).fetchall()
    for row in found:
        job = rows.job_of(row)
        hours = (limits.lifetime if job.state == "held" else row["lifetime"]) / 3600
        sentence = f"It could not be delivered within {hours:,.3g} hours. {job.sentence}".strip()
        transaction.store(transitions.fail(job, transaction.now, transitions.Failure(job.cause or "expired", sentence)))


def _give_up_messages(limits: Limits, transaction: Transaction) -> None:
    found = transaction.connection.execute(
        "SELECT id FROM jobs WHERE file IS NOT NULL AND ((state = 'failed' AND changed_at < ?) "
        "OR (state = 'in_doubt' AND NOT delivering AND changed_at < ?))",
        (transaction.now - limits.failed, transaction.now - max(limits.failed, limits.lifetime)),
    ).fetchall()
    for row in found:
        transaction.give_up_file(row["id"])


def _forget_jobs(limits: Limits, transaction: Transaction) -> None:
    connection = transaction.connection
    found = connection.execute(
        f"SELECT id, state, changed_at FROM jobs WHERE {_ENDED} "  # noqa: S608 - our own words
        "AND (file IS NULL OR state != 'in_doubt') ORDER BY changed_at DESC, id DESC"
    ).fetchall()
    for place, row in enumerate(found):
        if place >= limits.rows or row["changed_at"] < transaction.now - limits.sent:
            transaction.give_up_file(row["id"])
            connection.execute("UPDATE keys SET state = ? WHERE job = ?", (row["state"], row["id"]))
            connection.execute("DELETE FROM jobs WHERE id = ?", (row["id"],))


def _forget_keys(limits: Limits, transaction: Transaction) -> None:
    """Forget old keys, and the oldest beyond the number; never one whose job is remembered."""
    transaction.connection.execute(
        "DELETE FROM keys WHERE state IS NOT NULL AND (at < ? OR (pipeline, key) IN "
        "(SELECT pipeline, key FROM keys ORDER BY at DESC LIMIT -1 OFFSET ?))",
        (transaction.now - limits.keys, limits.key_rows),
    )


def _forget_mails(limits: Limits, transaction: Transaction) -> None:
    connection = transaction.connection
    old = connection.execute(
        "SELECT id FROM mails WHERE file IS NOT NULL AND state = 'set_aside' AND changed_at < ?",
        (transaction.now - limits.set_aside,),
    ).fetchall()
    for row in old:
        mail_rows.give_up_file(transaction, row["id"])
    # As long as the server lists a mail, and for a while after it was handled, it is known by its digest.
    connection.execute(
        "DELETE FROM mails WHERE state != 'fetched' AND file IS NULL AND changed_at < ? "
        "AND id NOT IN (SELECT mail FROM uids WHERE mail IS NOT NULL)",
        (transaction.now - limits.uids,),
    )
