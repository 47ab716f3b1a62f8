"""What happens to jobs, each as the work of one transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.spool import rows
from mailslot.spool.adoption import DAMAGED
from mailslot.spool.job import UNFINISHED, after
from mailslot.spool.settlement import abandoned, again, settled

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.spool.change import Change
    from mailslot.spool.job import Job
    from mailslot.spool.settlement import Answers

_CLOCK_SET_BACK: Final = 60.0
"""Seconds by which a job's last change must lie in the future for its next attempt to mean nothing any more."""

_JUST_NOW: Final = 5.0
"""Seconds within which a clock that was set is noticed."""


def claim(via: str, now: float, job_id: int | None, change: Change) -> Job | None:
    """Take up the oldest job of a record that is due, or the named one if it waits; None where there is none."""
    row = change.connection.execute(
        "SELECT * FROM jobs WHERE via = :via AND state IN ('queued', 'deferred') AND CASE WHEN :id IS NULL "
        "THEN state = 'queued' OR next_attempt <= :now OR changed_at > :soon ELSE id = :id END ORDER BY id LIMIT 1",
        {"via": via, "id": job_id, "now": now, "soon": now + _CLOCK_SET_BACK},
    ).fetchone()
    if row is None:
        return None
    job = rows.job_of(row)
    return change.move("claim", job, replace(job, attempts=job.attempts + 1, next_attempt=None))


def settle(job_id: int, answers: Answers, change: Change) -> Job:
    """Note what the server answered."""
    job = rows.load(change.connection, job_id)
    return change.move(*settled(job, answers))


def reclaim(job_id: int, change: Change) -> None:
    """Take a job back from a delivery that has died: nothing of it left, or nobody waits for its answer any more."""
    job = rows.load(change.connection, job_id)
    if job.state == "sending":
        change.move("requeue", job, job)
    elif job.delivering:
        change.move("abandon", job, abandoned(job))


def release(via: str, change: Change) -> int:
    """Make all held and deferred jobs of a record due; return how many."""
    found = change.connection.execute(
        "SELECT * FROM jobs WHERE via = ? AND state IN ('held', 'deferred')", (via,)
    ).fetchall()
    for job in map(rows.job_of, found):
        new = replace(job, next_attempt=None)
        if job.state == "held" and job.expires_at is not None:
            # Its time stood still.
            new = replace(new, expires_at=job.expires_at + max(change.now - job.changed_at, 0.0))
        change.move("release", job, new)
    return len(found)


def suspend(via: str, cause: str, sentence: str, until: float | None, change: Change) -> int:
    """Hold all jobs of a record that wait for an attempt, or defer those that are due; return how many."""
    found = change.connection.execute(
        "SELECT * FROM jobs WHERE via = :via AND state IN ('queued', 'deferred') "
        "AND (:all OR state = 'queued' OR next_attempt <= :now)",
        {"via": via, "all": until is None, "now": change.now},
    ).fetchall()
    for job in map(rows.job_of, found):
        new = replace(job, cause=cause, sentence=sentence, next_attempt=until, attempts=max(job.attempts, 1))
        change.move("hold" if until is None else "defer", job, new)
    return len(found)


def retry(job_id: int, folder: Path, change: Change) -> Job:
    """Queue a job as a person asks, if its message is still there; its time begins anew."""
    job = rows.load(change.connection, job_id)
    after("retry", job.state, job.id, delivering=job.delivering)
    file, _ = rows.file_of(change.connection, job_id)
    if file is None or file.endswith(DAMAGED) or not (folder / file).exists():
        raise InputError(
            f"The message of job {job_id} is not kept any more, so it cannot be sent again.",
            stage="spool",
            cause="job_state",
        )
    expires = change.now + rows.lifetime(change.connection, job_id)
    return change.move("retry", job, replace(again(job), expires_at=expires))


def set_clock(seconds: float, change: Change) -> None:
    """Let jobs that wait keep their time though the clock was set."""
    # Who was accepted after the clock was set, and before it was noticed, has the new time already.
    change.connection.execute(
        "UPDATE jobs SET changed_at = changed_at + ?, next_attempt = next_attempt + ?, "  # noqa: S608 - question marks
        f"expires_at = expires_at + ? WHERE state IN ({rows.marks(UNFINISHED)}) AND NOT created_at BETWEEN ? AND ?",
        (seconds, seconds, seconds, *UNFINISHED, change.now - _JUST_NOW, change.now + _JUST_NOW),
    )
