"""The jobs of a spool in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mailslot.fleet.postgres.rows import LARGEST, NOTE, DeviceRows, clean, notes_text
from mailslot.spool.job import CONFIRMATION_NOTE, ENVELOPE_ID, STATES, UNFINISHED, Job, NewJob, Recipient, State
from mailslot.spool.repositories import MOST_WITH_ONE_ID, JobFilePlace
from mailslot.spool.row_mapping import (
    found_job,
    job_of,
    job_of_envelope,
    job_of_key,
    recipients_text,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from mailslot.spool.job_envelope import JobEnvelope

_CLOCK_SET_BACK: Final = 60.0
"""Seconds by which a job's last change must lie in the future for the clock to count as set back."""

_JUST_NOW: Final = 5.0
"""Seconds within which a change of the clock is noticed."""

_OF_DEVICE: Final = "SELECT * FROM jobs WHERE device = %(device)s"


class PostgresJobs(DeviceRows):
    """The jobs of a spool, in a transaction; see `mailslot.spool.repositories.Jobs`."""

    def insert(self, envelope: JobEnvelope, *, file: str, now: float) -> Job:
        """Insert a job in state `queued`, or `deferred` if it is to be sent later, and its key; return the job."""
        new, due_at = envelope.new, envelope.due_at(now)
        job_id = int(
            self.value(
                "UPDATE device_state SET last_job = last_job + 1 WHERE device = %(device)s RETURNING last_job AS id"
            )
        )
        self.execute(
            "INSERT INTO jobs (tenant, device, id, state, via, pipeline, changed_at, created_at, expires_at, lifetime, "
            "attempts, doubts, file, start, size, eight_bit, smtputf8, message_id, sender, subject, sentence, reply, "
            "notes, recipients, next_attempt) VALUES (%(tenant)s, %(device)s, %(id)s, %(state)s, %(via)s, "
            "%(pipeline)s, %(now)s, %(created_at)s, %(expires_at)s, %(lifetime)s, 0, 0, %(file)s, %(start)s, "
            "%(size)s, %(eight_bit)s, %(smtputf8)s, %(message_id)s, %(sender)s, %(subject)s, '', '', %(notes)s, "
            "%(recipients)s, %(next_attempt)s)",
            id=job_id,
            state="queued" if due_at is None else "deferred",
            next_attempt=due_at,
            via=new.via,
            pipeline=new.pipeline,
            now=now,
            created_at=envelope.created_at,
            expires_at=envelope.expires_at,
            lifetime=envelope.lifetime,
            file=file,
            start=envelope.line_length,
            size=envelope.size,
            eight_bit=envelope.eight_bit,
            smtputf8=envelope.smtputf8,
            message_id=clean(new.message_id),
            sender=clean(new.sender),
            subject=clean(new.subject),
            notes=notes_text(new.notes),
            recipients=recipients_text([Recipient(address) for address in new.recipients]),
        )
        if new.key is not None:
            self.execute(
                "INSERT INTO keys (tenant, device, pipeline, key, job, at) VALUES (%(tenant)s, %(device)s, "
                "%(pipeline)s, %(key)s, %(job)s, %(now)s) ON CONFLICT (device, pipeline, key) DO UPDATE SET "
                "job = excluded.job, state = NULL, at = excluded.at",
                pipeline=new.pipeline,
                key=new.key,
                job=job_id,
                now=now,
            )
        # As it stands in the row.
        return replace(job_of_envelope(envelope, job_id, now), subject=clean(new.subject))

    def load(self, job_id: int) -> Job:
        """Return a job.

        Raises:
            InputError: there is none.
        """
        row = self.one(f"{_OF_DEVICE} AND id = %(id)s", id=job_id) if abs(job_id) <= LARGEST else None
        return found_job(row, job_id)

    def newest(
        self, states: Collection[State] | None, pipeline: str | None, limit: int, before: int | None
    ) -> list[Job]:
        """Return the newest jobs, newest first."""
        query, values = _OF_DEVICE, dict[str, Any]()
        conditions = (
            ("state = ANY(%(states)s)", "states", None if states is None else [*states]),
            ("pipeline = %(pipeline)s", "pipeline", pipeline),
            ("id < %(before)s", "before", before),
        )
        for condition, name, value in conditions:
            if value is not None:
                query += f" AND {condition}"
                values[name] = value
        return [job_of(row) for row in self.all(f"{query} ORDER BY id DESC LIMIT %(limit)s", limit=limit, **values)]

    def sent_as(self, envelope_ids: Collection[str], message_ids: Collection[str]) -> list[Job]:
        """Return the jobs with one of these envelope ids, or else with one of these Message-IDs, newest first."""
        conditions = (
            (f"{NOTE} = ANY(%(values)s)", envelope_ids),
            ("message_id = ANY(%(values)s)", message_ids),
        )
        for condition, values in conditions:
            found = self.all(
                f"{_OF_DEVICE} AND {condition} ORDER BY id DESC LIMIT %(most)s",
                note=ENVELOPE_ID,
                values=[*map(clean, values)],
                most=MOST_WITH_ONE_ID,
            )
            if found:
                return [job_of(row) for row in found]
        return []

    def undelivered(self, pipeline: str, accepted_before: float, after: int, limit: int) -> list[Job]:
        """Return failed jobs, old unfinished ones, and sent ones that have not reached all recipients, oldest first."""
        found = self.all(
            f"{_OF_DEVICE} AND id > %(after)s AND pipeline = %(pipeline)s AND (state = 'failed' "
            "OR (state = ANY(%(states)s) AND created_at < %(before)s) OR (state = 'sent' AND (cause IS NOT NULL "
            f"OR {NOTE} = 'failed'))) ORDER BY id LIMIT %(limit)s",
            after=after,
            limit=limit,
            pipeline=pipeline,
            states=[*UNFINISHED],
            before=accepted_before,
            note=CONFIRMATION_NOTE,
        )
        return [job_of(row) for row in found]

    def count_by_state(self) -> Mapping[State, int]:
        """Return how many jobs are in each state."""
        found = dict(self.tuples("SELECT state, count(*) FROM jobs WHERE device = %(device)s GROUP BY state"))
        return {state: found.get(state, 0) for state in STATES}

    def count_by_pipeline(self) -> list[tuple[str, State, int, float]]:
        """Return, for each pipeline and state that has jobs, their number and when the oldest was accepted."""
        found = self.tuples(
            "SELECT pipeline, state, count(*), min(created_at) FROM jobs WHERE device = %(device)s "
            "GROUP BY pipeline, state"
        )
        return [(pipeline, state_of(state), count, oldest) for pipeline, state, count, oldest in found]

    def count_by_note(self, note: str) -> list[tuple[str, State, int, float]]:
        """Return, for each value of a note and each state, the number of jobs and when the newest was accepted."""
        found = self.tuples(
            f"SELECT {NOTE} AS value, state, count(*), max(created_at) FROM jobs "
            f"WHERE device = %(device)s AND {NOTE} IS NOT NULL GROUP BY 1, state",
            note=note,
        )
        return [(value, state_of(state), count, newest) for value, state, count, newest in found]

    def held_by_record(self) -> Mapping[str, tuple[int, int]]:
        """Return, for each record that has held jobs, their number and the id of the newest."""
        found = self.tuples(
            "SELECT via, count(*), max(id) FROM jobs WHERE device = %(device)s AND state = 'held' GROUP BY via"
        )
        return {via: (number, newest) for via, number, newest in found}

    def first_due_times(self) -> Mapping[str, float]:
        """Return, for each record that has queued or deferred jobs, when the first is due; 0.0 for now."""
        return dict(
            self.tuples(
                "SELECT via, min(CASE state WHEN 'queued' THEN 0.0 ELSE next_attempt END) FROM jobs "
                "WHERE device = %(device)s AND state IN ('queued', 'deferred') GROUP BY via"
            )
        )

    def next_due(self, via: str, now: float, job_id: int | None) -> Job | None:
        """Return the oldest due job of a record, or the given one if it is queued or deferred; None without one."""
        query = f"{_OF_DEVICE} AND via = %(via)s AND state IN ('queued', 'deferred')"
        if job_id is None:
            query += " AND (state = 'queued' OR next_attempt <= %(now)s OR changed_at > %(soon)s)"
        else:
            query += " AND id = %(id)s"
        row = self.one(f"{query} ORDER BY id LIMIT 1", via=via, id=job_id, now=now, soon=now + _CLOCK_SET_BACK)
        return None if row is None else job_of(row)

    def held_or_deferred(self, via: str) -> Iterator[Job]:
        """Yield the held and deferred jobs of a record; the caller may change each."""
        found = self.all(f"{_OF_DEVICE} AND via = %(via)s AND state IN ('held', 'deferred') ORDER BY id", via=via)
        return (job_of(row) for row in found)

    def awaiting_attempt(self, via: str, now: float | None) -> Iterator[Job]:
        """Yield the queued and deferred jobs of a record that are due, or all of them if `now` is None."""
        query = f"{_OF_DEVICE} AND via = %(via)s AND state IN ('queued', 'deferred')"
        if now is not None:
            query += " AND (state = 'queued' OR next_attempt <= %(now)s)"
        return (job_of(row) for row in self.all(f"{query} ORDER BY id", via=via, now=now))

    def shift_times(self, seconds: float, now: float, up: float) -> None:
        """Shift the times of unfinished jobs, and of those that ended by the wrong clock."""
        # Jobs accepted between the change and its detection have the new time already. A lifetime that has begun by the
        # time as it is now was not counted by a clock that was ahead.
        self.execute(
            "UPDATE jobs SET changed_at = changed_at + %(seconds)s, next_attempt = next_attempt + %(seconds)s, "
            "expires_at = CASE WHEN %(seconds)s < 0 AND expires_at - lifetime <= %(now)s THEN expires_at "
            "ELSE expires_at + %(seconds)s END WHERE device = %(device)s AND state = ANY(%(states)s) "
            "AND NOT created_at BETWEEN %(first)s AND %(last)s",
            seconds=seconds,
            now=now,
            states=[*UNFINISHED],
            first=now - _JUST_NOW,
            last=now + _JUST_NOW,
        )
        # Else what ended while the clock was years behind would be deleted at once.
        first, last = now - seconds - up, now - seconds
        self.execute(
            "UPDATE jobs SET changed_at = changed_at + %(seconds)s WHERE device = %(device)s "
            "AND state <> ALL(%(states)s) AND changed_at BETWEEN %(first)s AND %(last)s",
            seconds=seconds,
            states=[*UNFINISHED],
            first=first,
            last=last,
        )
        self.execute(
            "UPDATE keys SET at = at + %(seconds)s WHERE device = %(device)s AND at BETWEEN %(first)s AND %(last)s",
            seconds=seconds,
            first=first,
            last=last,
        )

    def file_of(self, job_id: int) -> tuple[str | None, int]:
        """Return the name of a job's file, None if it was removed, and the offset of the message in it."""
        row = self.one("SELECT file, start FROM jobs WHERE device = %(device)s AND id = %(id)s", id=job_id)
        return (None, 0) if row is None else (row["file"], row["start"])

    def set_file(self, job_id: int, file: str | None, *, start: int = 0, size: int | None = None) -> None:
        """Give a job another file, or none; `size` is that of the message, None if it has not changed."""
        self.execute(
            "UPDATE jobs SET file = %(file)s::text, start = CASE WHEN %(file)s::text IS NULL THEN start "
            "ELSE %(start)s END, size = coalesce(%(size)s, size) WHERE device = %(device)s AND id = %(id)s",
            file=file,
            start=start,
            size=size,
            id=job_id,
        )

    def lifetime(self, job_id: int) -> float:
        """Return the lifetime of a job in seconds."""
        return float(self.value("SELECT lifetime FROM jobs WHERE device = %(device)s AND id = %(id)s", id=job_id))

    def store(self, job: Job, *, keeps_message: bool = True) -> None:
        """Update everything of a job that a transition changes; without its message, its file is forgotten."""
        self.execute(
            "UPDATE jobs SET state = %(state)s, changed_at = %(changed_at)s, attempts = %(attempts)s, "
            "doubts = %(doubts)s, next_attempt = %(next_attempt)s, expires_at = %(expires_at)s, cause = %(cause)s, "
            "sentence = %(sentence)s, reply = %(reply)s, recipients = %(recipients)s, delivering = %(delivering)s"
            f"{'' if keeps_message else ', file = NULL'} WHERE device = %(device)s AND id = %(id)s",
            id=job.id,
            state=job.state,
            changed_at=job.changed_at,
            attempts=job.attempts,
            doubts=job.doubts,
            next_attempt=job.next_attempt,
            expires_at=job.expires_at,
            cause=job.cause,
            sentence=clean(job.sentence),
            reply=clean(job.reply),
            recipients=recipients_text(job.recipients),
            delivering=job.delivering,
        )

    def annotate(self, job: Job, notes: Mapping[str, str]) -> Job:
        """Update the notes of a job; return it."""
        text = notes_text(notes)
        self.execute(
            "UPDATE jobs SET notes = %(notes)s WHERE device = %(device)s AND id = %(id)s", notes=text, id=job.id
        )
        return replace(job, notes=notes)

    def find_by_keys(self, new: NewJob, keys: Collection[str]) -> Mapping[str, Job]:
        """Return the jobs that the pipeline of `new` has had accepted with these keys, by key."""
        found = self.all(
            "SELECT key, job, state, at FROM keys WHERE device = %(device)s AND pipeline = %(pipeline)s "
            "AND key = ANY(%(keys)s)",
            pipeline=new.pipeline,
            keys=[*keys],
        )
        return {row["key"]: self.load(row["job"]) if row["state"] is None else job_of_key(row, new) for row in found}

    def delete(self, job_id: int, state: State) -> None:
        """Delete a job; its key is kept, with the state."""
        self.execute(
            "UPDATE keys SET state = %(state)s WHERE device = %(device)s AND job = %(id)s", state=state, id=job_id
        )
        self.execute("DELETE FROM jobs WHERE device = %(device)s AND id = %(id)s", id=job_id)

    def forget_keys(self, before: float, most: int) -> None:
        """Delete the keys of deleted jobs that are older than `before`, and the oldest ones beyond `most`."""
        self.execute(
            "DELETE FROM keys WHERE device = %(device)s AND state IS NOT NULL AND (at < %(before)s OR "
            "(pipeline, key) IN (SELECT pipeline, key FROM keys WHERE device = %(device)s ORDER BY at DESC "
            "OFFSET %(most)s))",
            before=before,
            most=most,
        )

    def claimed(self) -> list[Job]:
        """Return the jobs that a delivery has claimed, whether or not it awaits the reply."""
        return [job_of(row) for row in self.all(f"{_OF_DEVICE} AND (state = 'sending' OR delivering) ORDER BY id")]

    def unfinished(self) -> list[Job]:
        """Return all unfinished jobs, oldest first."""
        found = self.all(f"{_OF_DEVICE} AND state = ANY(%(states)s) ORDER BY id", states=[*UNFINISHED])
        return [job_of(row) for row in found]

    def with_files(self) -> Iterator[JobFilePlace]:
        """Yield where the messages are that are kept, oldest job first."""
        query = "SELECT id, file, start, size FROM jobs WHERE device = %(device)s AND file IS NOT NULL ORDER BY id"
        return (JobFilePlace(*row) for row in self.tuples(query))

    def expired(self, now: float, held_since: float) -> list[tuple[Job, float]]:
        """Return the jobs to fail, and their lifetimes: attempted and expired, or held since before `held_since`."""
        found = self.all(
            f"{_OF_DEVICE} AND ((state IN ('queued', 'deferred') AND expires_at <= %(now)s AND attempts > 0) "
            "OR (state = 'held' AND changed_at <= %(held_since)s)) ORDER BY id",
            now=now,
            held_since=held_since,
        )
        return [(job_of(row), row["lifetime"]) for row in found]

    def releasable(self, failed_before: float, doubtful_before: float) -> list[int]:
        """Return the jobs whose messages need not be kept any more: failed or in doubt since before these times."""
        found = self.tuples(
            "SELECT id FROM jobs WHERE device = %(device)s AND file IS NOT NULL AND ((state = 'failed' "
            "AND changed_at < %(failed_before)s) OR (state = 'in_doubt' AND NOT delivering "
            "AND changed_at < %(doubtful_before)s)) ORDER BY id",
            failed_before=failed_before,
            doubtful_before=doubtful_before,
        )
        return [number for (number,) in found]

    def ended(self) -> list[tuple[int, State, float]]:
        """Return the finished jobs, and those in doubt without a message: id, state and last change, newest first."""
        found = self.tuples(
            "SELECT id, state, changed_at FROM jobs WHERE device = %(device)s "
            "AND state IN ('sent', 'failed', 'cancelled', 'in_doubt') AND (file IS NULL OR state <> 'in_doubt') "
            "ORDER BY changed_at DESC, id DESC"
        )
        return [(number, state_of(state), changed_at) for number, state, changed_at in found]
