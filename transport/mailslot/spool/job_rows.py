"""The rows of jobs; every function must be called in a transaction."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.spool.job import CONFIRMATION_NOTE, STATES, UNFINISHED, Job, NewJob, Recipient, State

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Mapping

    from mailslot.spool.job_envelope import JobEnvelope

_CLOCK_SET_BACK: Final = 60.0
"""Seconds by which a job's last change must lie in the future for the clock to count as set back."""

_LARGEST: Final = 2**63 - 1
"""The largest integer that SQLite stores ("Datatypes")."""

_JUST_NOW: Final = 5.0
"""Seconds within which a change of the clock is noticed."""


_FIRST_DUE_TIMES: Final = """
    WITH RECURSIVE records (via) AS (
        SELECT min(via) FROM jobs
        UNION ALL
        SELECT (SELECT min(via) FROM jobs WHERE via > records.via) FROM records WHERE via IS NOT NULL
    )
    SELECT via, iif(
        EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_by_record WHERE via = records.via AND state = 'queued'),
        0.0,
        (SELECT min(next_attempt) FROM jobs INDEXED BY jobs_by_record WHERE via = records.via AND state = 'deferred')
    ) AS due FROM records WHERE via IS NOT NULL AND due IS NOT NULL
"""
"""It reads a few entries of the index for each record, however many jobs there are."""


def placeholders(values: Collection[object]) -> str:
    """Return a question mark for each value, separated by commas."""
    return ",".join("?" * len(values))


def replace_surrogates(text: str) -> str:
    """Return `text` with ``?`` in place of lone surrogates, which SQLite rejects."""
    return text.encode("utf-8", "replace").decode()


def insert(connection: sqlite3.Connection, envelope: JobEnvelope, *, file: str, now: float) -> int:
    """Insert a job in state `queued`; return its id."""
    new = envelope.new
    cursor = connection.execute(
        "INSERT INTO jobs (state, via, pipeline, changed_at, created_at, expires_at, lifetime, attempts, doubts, file, "
        "start, size, eight_bit, smtputf8, message_id, sender, subject, sentence, reply, notes, recipients) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?, '', '', ?, ?)",
        (
            "queued",
            new.via,
            new.pipeline,
            now,
            envelope.created_at,
            envelope.created_at + envelope.lifetime,
            envelope.lifetime,
            file,
            envelope.line_length,
            envelope.size,
            envelope.eight_bit,
            envelope.smtputf8,
            new.message_id,
            new.sender,
            replace_surrogates(new.subject),
            json.dumps(dict(new.notes)),
            _recipients_text([Recipient(address) for address in new.recipients]),
        ),
    )
    assert cursor.lastrowid is not None  # noqa: S101 - an INSERT has one
    if new.key is not None:
        connection.execute(
            "INSERT OR REPLACE INTO keys (pipeline, key, job, at) VALUES (?, ?, ?, ?)",
            (new.pipeline, new.key, cursor.lastrowid, now),
        )
    return cursor.lastrowid


def find_row(connection: sqlite3.Connection, query: str, number: int) -> sqlite3.Row | None:
    """Return the row with an id; None if there is none, also for an id that SQLite cannot store."""
    if abs(number) > _LARGEST:
        return None
    row: sqlite3.Row | None = connection.execute(query, (number,)).fetchone()
    return row


def load(connection: sqlite3.Connection, job_id: int) -> Job:
    """Return a job.

    Raises:
        InputError: there is none.
    """
    row = find_row(connection, "SELECT * FROM jobs WHERE id = ?", job_id)
    if row is None:
        raise InputError(f"There is no job {job_id}.", stage="spool", cause="unknown_job")
    return job_of(row)


def newest(
    connection: sqlite3.Connection,
    states: Collection[State] | None,
    pipeline: str | None,
    limit: int,
    before: int | None,
) -> list[Job]:
    """Return the newest jobs, newest first."""
    # Without a condition on the state, SQLite reads backwards by id; with all states listed, it would sort.
    query, values = "SELECT * FROM jobs WHERE true", list[object]()
    if states is not None:
        query += f" AND state IN ({placeholders(states)})"
        values += states
    for condition, value in (("pipeline = ?", pipeline), ("id < ?", before)):
        if value is not None:
            query += f" AND {condition}"
            values.append(value)
    return [job_of(row) for row in connection.execute(f"{query} ORDER BY id DESC LIMIT ?", [*values, limit])]


def undelivered(connection: sqlite3.Connection, pipeline: str, accepted_before: float) -> list[Job]:
    """Return failed jobs, old unfinished ones, and sent ones that have not reached all recipients, oldest first."""
    found = connection.execute(
        "SELECT * FROM jobs WHERE pipeline = ? AND (state = 'failed' "  # noqa: S608 - question marks
        f"OR (state IN ({placeholders(UNFINISHED)}) AND created_at < ?) "
        # The cause of a sent job is that of a recipient that the server has refused.
        "OR (state = 'sent' AND (cause IS NOT NULL OR json_extract(notes, ?) = 'failed'))) ORDER BY id",
        (pipeline, *UNFINISHED, accepted_before, f"$.{CONFIRMATION_NOTE}"),
    )
    return [job_of(row) for row in found]


def count_by_state(connection: sqlite3.Connection) -> Mapping[State, int]:
    """Return how many jobs are in each state."""
    found = dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
    return {state: found.get(state, 0) for state in STATES}


def count_by_pipeline(connection: sqlite3.Connection) -> list[tuple[str, State, int, float]]:
    """Return, for each pipeline and state that has jobs, their number and when the oldest was accepted."""
    query = "SELECT pipeline, state, count(*), min(created_at) FROM jobs GROUP BY pipeline, state"
    return [tuple(row) for row in connection.execute(query)]


def count_by_note(connection: sqlite3.Connection, note: str) -> list[tuple[str, State, int, float]]:
    """Return, for each value of a note and each state, the number of jobs and when the newest was accepted."""
    query = (
        "SELECT json_extract(notes, ?) AS value, state, count(*), max(created_at) FROM jobs "
        "WHERE value IS NOT NULL GROUP BY value, state"
    )
    return [tuple(row) for row in connection.execute(query, (f"$.{note}",))]


def held_by_record(connection: sqlite3.Connection) -> Mapping[str, tuple[int, int]]:
    """Return, for each record that has held jobs, their number and the id of the newest."""
    query = "SELECT via, count(*), max(id) FROM jobs WHERE state = 'held' GROUP BY via"
    return {via: (number, newest) for via, number, newest in connection.execute(query)}


def first_due_times(connection: sqlite3.Connection) -> Mapping[str, float]:
    """Return, for each record that has queued or deferred jobs, when the first is due; 0.0 for now."""
    return dict(connection.execute(_FIRST_DUE_TIMES).fetchall())


def next_due(connection: sqlite3.Connection, via: str, now: float, job_id: int | None) -> Job | None:
    """Return the oldest due job of a record, or the given one if it is queued or deferred; None if there is none."""
    row = connection.execute(
        "SELECT * FROM jobs WHERE via = :via AND state IN ('queued', 'deferred') AND CASE WHEN :id IS NULL "
        "THEN state = 'queued' OR next_attempt <= :now OR changed_at > :soon ELSE id = :id END ORDER BY id LIMIT 1",
        {"via": via, "id": job_id, "now": now, "soon": now + _CLOCK_SET_BACK},
    ).fetchone()
    return None if row is None else job_of(row)


def held_or_deferred(connection: sqlite3.Connection, via: str) -> Iterator[Job]:
    """Yield the held and deferred jobs of a record; the caller may change each."""
    return _each(connection, "SELECT id FROM jobs WHERE via = ? AND state IN ('held', 'deferred')", (via,))


def awaiting_attempt(connection: sqlite3.Connection, via: str, now: float | None) -> Iterator[Job]:
    """Yield the queued and deferred jobs of a record that are due, or all of them if `now` is None.

    The caller may change each.
    """
    query = (
        "SELECT id FROM jobs WHERE via = :via AND state IN ('queued', 'deferred') "
        "AND (:now IS NULL OR state = 'queued' OR next_attempt <= :now)"
    )
    return _each(connection, query, {"via": via, "now": now})


def _each(connection: sqlite3.Connection, query: str, values: Any) -> Iterator[Job]:  # noqa: ANN401 - SQLite's
    """Yield jobs one by one, since there may be thousands."""
    numbers = [int(row["id"]) for row in connection.execute(query, values)]
    return (load(connection, number) for number in numbers)


def shift_times(connection: sqlite3.Connection, seconds: float, now: float) -> None:
    """Shift the times of unfinished jobs after a change of the clock."""
    # Jobs accepted between the change and its detection have the new time already.
    connection.execute(
        "UPDATE jobs SET changed_at = changed_at + ?, next_attempt = next_attempt + ?, "  # noqa: S608 - question marks
        f"expires_at = expires_at + ? WHERE state IN ({placeholders(UNFINISHED)}) AND NOT created_at BETWEEN ? AND ?",
        (seconds, seconds, seconds, *UNFINISHED, now - _JUST_NOW, now + _JUST_NOW),
    )


def file_of(connection: sqlite3.Connection, job_id: int) -> tuple[str | None, int]:
    """Return the name of a job's file, None if it was removed, and the offset of the message in it."""
    row = connection.execute("SELECT file, start FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return (None, 0) if row is None else (row["file"], row["start"])


def lifetime(connection: sqlite3.Connection, job_id: int) -> float:
    """Return the lifetime of a job in seconds."""
    return float(connection.execute("SELECT lifetime FROM jobs WHERE id = ?", (job_id,)).fetchone()[0])


def store(connection: sqlite3.Connection, job: Job) -> None:
    """Update the mutable columns of a job."""
    connection.execute(
        "UPDATE jobs SET state = ?, changed_at = ?, attempts = ?, doubts = ?, next_attempt = ?, expires_at = ?, "
        "cause = ?, sentence = ?, reply = ?, recipients = ?, delivering = ? WHERE id = ?",
        (
            job.state,
            job.changed_at,
            job.attempts,
            job.doubts,
            job.next_attempt,
            job.expires_at,
            job.cause,
            replace_surrogates(job.sentence),
            replace_surrogates(job.reply),
            _recipients_text(job.recipients),
            job.delivering,
            job.id,
        ),
    )


def annotate(connection: sqlite3.Connection, job: Job, notes: Mapping[str, str]) -> Job:
    """Update the notes of a job; return it."""
    connection.execute("UPDATE jobs SET notes = ? WHERE id = ?", (json.dumps(dict(notes)), job.id))
    return replace(job, notes=notes)


def find_by_key(connection: sqlite3.Connection, new: NewJob) -> Job | None:
    """Return the job that was accepted with the key of `new`; None if there was none.

    If the job's row was deleted, only its id and its final state are known.
    """
    row = connection.execute(
        "SELECT job, state, at FROM keys WHERE pipeline = ? AND key = ?", (new.pipeline, new.key)
    ).fetchone()
    if row is None:
        return None
    if row["state"] is None:
        return load(connection, row["job"])
    return Job(
        id=row["job"],
        pipeline=new.pipeline,
        via=new.via,
        state=_state(row["state"]),
        sender=new.sender,
        recipients=(),
        subject=new.subject,
        size=0,
        created_at=row["at"],
        changed_at=row["at"],
        attempts=0,
        doubts=0,
        next_attempt=None,
        expires_at=None,
        cause=None,
        sentence="",
        reply="",
        message_id=new.message_id,
        notes={},
        eight_bit=False,
        smtputf8=False,
    )


def count_unfinished(connection: sqlite3.Connection) -> int:
    """Return the number of unfinished jobs."""
    return int(connection.execute("SELECT unfinished FROM totals").fetchone()[0])


def total_octets(connection: sqlite3.Connection) -> int:
    """Return the total size of the files of jobs and mails."""
    return int(connection.execute("SELECT octets FROM totals").fetchone()[0])


def job_of(row: sqlite3.Row) -> Job:
    """Return the job in a row of ``jobs``."""
    recipients: list[list[Any]] = json.loads(row["recipients"])
    notes: Mapping[str, str] = json.loads(row["notes"])
    return Job(
        id=row["id"],
        pipeline=row["pipeline"],
        via=row["via"],
        state=_state(row["state"]),
        sender=row["sender"],
        recipients=tuple([Recipient(*each) for each in recipients]),
        subject=row["subject"],
        size=row["size"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        attempts=row["attempts"],
        doubts=row["doubts"],
        next_attempt=row["next_attempt"],
        expires_at=row["expires_at"],
        cause=row["cause"],
        sentence=row["sentence"],
        reply=row["reply"],
        message_id=row["message_id"],
        notes=notes,
        eight_bit=bool(row["eight_bit"]),
        smtputf8=bool(row["smtputf8"]),
        delivering=bool(row["delivering"]),
    )


def _state(text: str) -> State:
    return STATES[STATES.index(text)]


def _recipients_text(recipients: Collection[Recipient]) -> str:
    return json.dumps([[each.address, each.state, each.reply, each.cause] for each in recipients])
