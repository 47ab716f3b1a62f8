"""The jobs of a spool in SQLite."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mailslot.spool.job import CONFIRMATION_NOTE, ENVELOPE_ID, STATES, UNFINISHED, Job, NewJob, Recipient, State
from mailslot.spool.repositories import MOST_WITH_ONE_ID, JobFilePlace
from mailslot.spool.row_mapping import (
    found_job,
    job_of,
    job_of_envelope,
    job_of_key,
    recipients_text,
    replace_surrogates,
    state_of,
)

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

_UNFINISHED_STATES: Final = ", ".join(f"'{state}'" for state in sorted(UNFINISHED))

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


class SqliteJobs:
    """The jobs of a spool, in a transaction; see `mailslot.spool.repositories.Jobs`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def insert(self, envelope: JobEnvelope, *, file: str, now: float) -> Job:
        """Insert a job in state `queued`, or `deferred` if it is to be sent later, and its key; return the job."""
        new, due_at = envelope.new, envelope.due_at(now)
        cursor = self._connection.execute(
            "INSERT INTO jobs (state, via, pipeline, changed_at, created_at, expires_at, lifetime, attempts, doubts, "
            "file, start, size, eight_bit, smtputf8, message_id, sender, subject, sentence, reply, notes, recipients, "
            "next_attempt) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?, '', '', ?, ?, ?)",
            (
                "queued" if due_at is None else "deferred",
                new.via,
                new.pipeline,
                now,
                envelope.created_at,
                envelope.expires_at,
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
                recipients_text([Recipient(address) for address in new.recipients]),
                due_at,
            ),
        )
        job_id = cursor.lastrowid
        assert job_id is not None  # noqa: S101 - an INSERT has one
        if new.key is not None:
            self._connection.execute(
                "INSERT OR REPLACE INTO keys (pipeline, key, job, at) VALUES (?, ?, ?, ?)",
                (new.pipeline, new.key, job_id, now),
            )
        return job_of_envelope(envelope, job_id, now)

    def load(self, job_id: int) -> Job:
        """Return a job.

        Raises:
            InputError: there is none.
        """
        row = find_row(self._connection, "SELECT * FROM jobs WHERE id = ?", job_id)
        return found_job(row, job_id)

    def newest(
        self,
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
        return [job_of(row) for row in self._connection.execute(f"{query} ORDER BY id DESC LIMIT ?", [*values, limit])]

    def sent_as(self, envelope_ids: Collection[str], message_ids: Collection[str]) -> list[Job]:
        """Return the jobs with one of these envelope ids, or else with one of these Message-IDs, newest first."""
        conditions = [
            (f"json_extract(notes, '$.{ENVELOPE_ID}') IN ({placeholders(envelope_ids)})", envelope_ids),
            (f"message_id IN ({placeholders(message_ids)})", message_ids),
        ]
        for condition, values in conditions:
            query = f"SELECT * FROM jobs WHERE {condition} ORDER BY id DESC LIMIT ?"  # noqa: S608 - question marks
            rows = self._connection.execute(query, [*map(replace_surrogates, values), MOST_WITH_ONE_ID])
            if found := [job_of(row) for row in rows]:
                return found
        return []

    def undelivered(self, pipeline: str, accepted_before: float, after: int, limit: int) -> list[Job]:
        """Return failed jobs, old unfinished ones, and sent ones that have not reached all recipients, oldest first."""
        found = self._connection.execute(
            "SELECT * FROM jobs WHERE id > ? AND pipeline = ? AND (state = 'failed' "  # noqa: S608 - question marks
            f"OR (state IN ({placeholders(UNFINISHED)}) AND created_at < ?) "
            # The cause of a sent job is that of a recipient that the server has refused.
            "OR (state = 'sent' AND (cause IS NOT NULL OR json_extract(notes, ?) = 'failed'))) ORDER BY id LIMIT ?",
            (after, pipeline, *UNFINISHED, accepted_before, f"$.{CONFIRMATION_NOTE}", limit),
        )
        return [job_of(row) for row in found]

    def count_by_state(self) -> Mapping[State, int]:
        """Return how many jobs are in each state."""
        found = dict(self._connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def count_by_pipeline(self) -> list[tuple[str, State, int, float]]:
        """Return, for each pipeline and state that has jobs, their number and when the oldest was accepted."""
        query = "SELECT pipeline, state, count(*), min(created_at) FROM jobs GROUP BY pipeline, state"
        return [tuple(row) for row in self._connection.execute(query)]

    def count_by_note(self, note: str) -> list[tuple[str, State, int, float]]:
        """Return, for each value of a note and each state, the number of jobs and when the newest was accepted."""
        query = (
            "SELECT json_extract(notes, ?) AS value, state, count(*), max(created_at) FROM jobs "
            "WHERE value IS NOT NULL GROUP BY value, state"
        )
        return [tuple(row) for row in self._connection.execute(query, (f"$.{note}",))]

    def held_by_record(self) -> Mapping[str, tuple[int, int]]:
        """Return, for each record that has held jobs, their number and the id of the newest."""
        query = "SELECT via, count(*), max(id) FROM jobs WHERE state = 'held' GROUP BY via"
        return {via: (number, newest) for via, number, newest in self._connection.execute(query)}

    def first_due_times(self) -> Mapping[str, float]:
        """Return, for each record that has queued or deferred jobs, when the first is due; 0.0 for now."""
        return dict(self._connection.execute(_FIRST_DUE_TIMES).fetchall())

    def next_due(self, via: str, now: float, job_id: int | None) -> Job | None:
        """Return the oldest due job of a record, or the given one if it is queued or deferred; None without one."""
        row = self._connection.execute(
            "SELECT * FROM jobs WHERE via = :via AND state IN ('queued', 'deferred') AND CASE WHEN :id IS NULL "
            "THEN state = 'queued' OR next_attempt <= :now OR changed_at > :soon ELSE id = :id END ORDER BY id LIMIT 1",
            {"via": via, "id": job_id, "now": now, "soon": now + _CLOCK_SET_BACK},
        ).fetchone()
        return None if row is None else job_of(row)

    def held_or_deferred(self, via: str) -> Iterator[Job]:
        """Yield the held and deferred jobs of a record; the caller may change each."""
        return self._each("SELECT id FROM jobs WHERE via = ? AND state IN ('held', 'deferred')", (via,))

    def awaiting_attempt(self, via: str, now: float | None) -> Iterator[Job]:
        """Yield the queued and deferred jobs of a record that are due, or all of them if `now` is None.

        The caller may change each.
        """
        query = (
            "SELECT id FROM jobs WHERE via = :via AND state IN ('queued', 'deferred') "
            "AND (:now IS NULL OR state = 'queued' OR next_attempt <= :now)"
        )
        return self._each(query, {"via": via, "now": now})

    def _each(self, query: str, values: Any) -> Iterator[Job]:  # noqa: ANN401 - SQLite's
        """Yield jobs one by one, since there may be thousands."""
        numbers = [int(row["id"]) for row in self._connection.execute(query, values)]
        return (self.load(number) for number in numbers)

    def shift_times(self, seconds: float, now: float, up: float) -> None:
        """Shift the times of unfinished jobs, and of those that ended by the wrong clock."""
        # Jobs accepted between the change and its detection have the new time already. A lifetime that has begun by the
        # time as it is now was not counted by a clock that was ahead.
        self._connection.execute(
            "UPDATE jobs SET "  # noqa: S608 - constants
            "changed_at = changed_at + :seconds, next_attempt = next_attempt + :seconds, "
            "expires_at = expires_at + iif(:seconds < 0 AND expires_at - lifetime <= :now, 0, :seconds) "
            f"WHERE state IN ({_UNFINISHED_STATES}) AND NOT created_at BETWEEN :now - :just_now AND :now + :just_now",
            {"seconds": seconds, "now": now, "just_now": _JUST_NOW},
        )
        # Else what ended while the clock was years behind would be deleted at once.
        ended = {"seconds": seconds, "first": now - seconds - up, "last": now - seconds}
        self._connection.execute(
            "UPDATE jobs SET changed_at = changed_at + :seconds "  # noqa: S608 - constants
            f"WHERE state NOT IN ({_UNFINISHED_STATES}) "
            "AND changed_at BETWEEN :first AND :last",
            ended,
        )
        self._connection.execute("UPDATE keys SET at = at + :seconds WHERE at BETWEEN :first AND :last", ended)

    def file_of(self, job_id: int) -> tuple[str | None, int]:
        """Return the name of a job's file, None if it was removed, and the offset of the message in it."""
        row = self._connection.execute("SELECT file, start FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return (None, 0) if row is None else (row["file"], row["start"])

    def lifetime(self, job_id: int) -> float:
        """Return the lifetime of a job in seconds."""
        return float(self._connection.execute("SELECT lifetime FROM jobs WHERE id = ?", (job_id,)).fetchone()[0])

    def store(self, job: Job, *, keeps_message: bool = True) -> None:
        """Update the mutable columns of a job; without its message, its file is forgotten."""
        # Not always, since the indexes of a column are written whenever it is.
        released = "" if keeps_message else ", file = NULL"
        self._connection.execute(
            "UPDATE jobs SET state = ?, changed_at = ?, attempts = ?, doubts = ?, next_attempt = ?, expires_at = ?, "  # noqa: S608 - our own words
            f"cause = ?, sentence = ?, reply = ?, recipients = ?, delivering = ?{released} WHERE id = ?",
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
                recipients_text(job.recipients),
                job.delivering,
                job.id,
            ),
        )

    def annotate(self, job: Job, notes: Mapping[str, str]) -> Job:
        """Update the notes of a job; return it."""
        self._connection.execute("UPDATE jobs SET notes = ? WHERE id = ?", (json.dumps(dict(notes)), job.id))
        return replace(job, notes=notes)

    def find_by_keys(self, new: NewJob, keys: Collection[str]) -> Mapping[str, Job]:
        """Return the jobs that the pipeline of `new` has had accepted with these keys, by key."""
        query = f"SELECT * FROM keys WHERE pipeline = ? AND key IN ({placeholders(keys)})"  # noqa: S608 - question marks
        found = self._connection.execute(query, [new.pipeline, *keys]).fetchall()
        return {row["key"]: self.load(row["job"]) if row["state"] is None else job_of_key(row, new) for row in found}

    def delete(self, job_id: int, state: State) -> None:
        """Delete a job; its key is kept, with the state."""
        self._connection.execute("UPDATE keys SET state = ? WHERE job = ?", (state, job_id))
        self._connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def forget_keys(self, before: float, most: int) -> None:
        """Delete the keys of deleted jobs that are older than `before`, and the oldest ones beyond `most`."""
        self._connection.execute(
            "DELETE FROM keys WHERE state IS NOT NULL AND (at < ? OR (pipeline, key) IN "
            "(SELECT pipeline, key FROM keys ORDER BY at DESC LIMIT -1 OFFSET ?))",
            (before, most),
        )

    def claimed(self) -> list[Job]:
        """Return the jobs that a delivery has claimed, whether or not it awaits the reply."""
        query = "SELECT * FROM jobs WHERE state = 'sending' OR delivering"
        return [job_of(row) for row in self._connection.execute(query).fetchall()]

    def unfinished(self) -> list[Job]:
        """Return all unfinished jobs, oldest first."""
        query = f"SELECT * FROM jobs WHERE state IN ({placeholders(UNFINISHED)}) ORDER BY id"  # noqa: S608 - question marks
        return [job_of(row) for row in self._connection.execute(query, [*UNFINISHED]).fetchall()]

    def with_files(self) -> Iterator[JobFilePlace]:
        """Yield where the messages are that are kept, oldest job first; nothing may be changed meanwhile."""
        for row in self._connection.execute(
            "SELECT id, file, start, size FROM jobs WHERE file IS NOT NULL ORDER BY id"
        ):
            yield JobFilePlace(*row)

    def set_file(self, job_id: int, file: str | None, *, start: int = 0, size: int | None = None) -> None:
        """Give a job another file, or none; `size` is that of the message, None if it has not changed."""
        self._connection.execute(
            "UPDATE jobs SET file = ?, start = CASE WHEN ? IS NULL THEN start ELSE ? END, "
            "size = coalesce(?, size) WHERE id = ?",
            (file, file, start, size, job_id),
        )

    def expired(self, now: float, held_since: float) -> list[tuple[Job, float]]:
        """Return the jobs to fail, and their lifetimes: attempted and expired, or held since before `held_since`."""
        found = self._connection.execute(
            "SELECT * FROM jobs WHERE (state IN ('queued', 'deferred') AND expires_at <= ? AND attempts > 0) "
            "OR (state = 'held' AND changed_at <= ?)",
            (now, held_since),
        ).fetchall()
        return [(job_of(row), row["lifetime"]) for row in found]

    def releasable(self, failed_before: float, doubtful_before: float) -> list[int]:
        """Return the jobs whose messages need not be kept any more: failed or in doubt since before these times."""
        found = self._connection.execute(
            "SELECT id FROM jobs WHERE file IS NOT NULL AND ((state = 'failed' AND changed_at < ?) "
            "OR (state = 'in_doubt' AND NOT delivering AND changed_at < ?))",
            (failed_before, doubtful_before),
        ).fetchall()
        return [row["id"] for row in found]

    def ended(self) -> list[tuple[int, State, float]]:
        """Return the finished jobs, and those in doubt without a message: id, state and last change, newest first."""
        found = self._connection.execute(
            "SELECT id, state, changed_at FROM jobs WHERE state IN ('sent', 'failed', 'cancelled', 'in_doubt') "
            "AND (file IS NULL OR state != 'in_doubt') ORDER BY changed_at DESC, id DESC"
        ).fetchall()
        return [(row["id"], state_of(row["state"]), row["changed_at"]) for row in found]


def placeholders(values: Collection[object]) -> str:
    """Return a question mark for each value, separated by commas."""
    return ",".join("?" * len(values))


def find_row(connection: sqlite3.Connection, query: str, number: int) -> sqlite3.Row | None:
    """Return the row with an id; None if there is none, also for an id that SQLite cannot store."""
    if abs(number) > _LARGEST:
        return None
    row: sqlite3.Row | None = connection.execute(query, (number,)).fetchone()
    return row
