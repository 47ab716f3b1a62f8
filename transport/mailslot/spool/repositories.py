"""What a spool asks of its database: the repositories of jobs, mails and values, in one transaction.

There is one implementation for each database; nothing else in the library has SQL. Text may contain lone surrogates,
which an implementation replaces. Times are in seconds since 1970.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from mailslot.spool.incoming import Incoming, KnownUid, MailState, NewMail
    from mailslot.spool.job import Job, NewJob, State
    from mailslot.spool.job_envelope import JobEnvelope


MOST_WITH_ONE_ID: Final = 1_000
"""The most jobs that are compared with a report, where a device gives every mail the same Message-ID."""


class JobFilePlace(NamedTuple):
    """Where the message of a job is: the job's id, the name of the file, the octets before the message, its size."""

    job: int
    file: str
    start: int
    size: int


class Totals(NamedTuple):
    """How much there is in a spool.

    Attributes:
        unfinished: the number of unfinished jobs.
        octets: the size of the messages of all jobs and mails.
        has_key: whether a job was accepted with one of the keys that were asked for.
    """

    unfinished: int
    octets: int
    has_key: bool


class ListedUid(NamedTuple):
    """A unique-id, when the server listed it last, and whether it was told to delete the mail."""

    uid: str
    seen_at: float
    deleted: bool


class DatabaseLoss(NamedTuple):
    """A loss of the database.

    Attributes:
        at: when a new database was created.
        found: how many jobs and mails were recovered from their files.
        damaged: how many jobs have failed because their files are damaged.
    """

    at: float
    found: int
    damaged: int


class Jobs(Protocol):
    """The jobs."""

    def insert(self, envelope: JobEnvelope, *, file: str, now: float) -> Job:
        """Insert a job in state `queued`, or `deferred` if it is to be sent later, and its key; return the job."""
        ...

    def load(self, job_id: int) -> Job:
        """Return a job.

        Raises:
            InputError: there is none.
        """
        ...

    def newest(
        self, states: Collection[State] | None, pipeline: str | None, limit: int, before: int | None
    ) -> list[Job]:
        """Return the newest jobs, newest first; see `mailslot.spool.spool.Spool.jobs`."""
        ...

    def sent_as(self, envelope_ids: Collection[str], message_ids: Collection[str]) -> list[Job]:
        """Return the jobs with one of these values of the note `ENVELOPE_ID`, or else with one of these Message-IDs.

        The newest comes first, and no more are returned than `MOST_WITH_ONE_ID`.
        """
        ...

    def undelivered(self, pipeline: str, accepted_before: float, after: int, limit: int) -> list[Job]:
        """Return failed jobs, old unfinished ones, and sent ones that have not reached all recipients, oldest first.

        The last are those with a cause, or with the value ``"failed"`` of the note `CONFIRMATION_NOTE`. No more than
        `limit` are returned, of those with a higher id than `after`.
        """
        ...

    def count_by_state(self) -> Mapping[State, int]:
        """Return how many jobs are in each state."""
        ...

    def count_by_pipeline(self) -> list[tuple[str, State, int, float]]:
        """Return, for each pipeline and state that has jobs, their number and when the oldest was accepted."""
        ...

    def count_by_note(self, note: str) -> list[tuple[str, State, int, float]]:
        """Return, for each value of a note and each state, the number of jobs and when the newest was accepted."""
        ...

    def held_by_record(self) -> Mapping[str, tuple[int, int]]:
        """Return, for each record that has held jobs, their number and the id of the newest."""
        ...

    def first_due_times(self) -> Mapping[str, float]:
        """Return, for each record that has queued or deferred jobs, when the first is due; 0.0 for now."""
        ...

    def next_due(self, via: str, now: float, job_id: int | None) -> Job | None:
        """Return the oldest due job of a record, or the given one if it is queued or deferred; None without one."""
        ...

    def held_or_deferred(self, via: str) -> Iterator[Job]:
        """Yield the held and deferred jobs of a record; the caller may change each."""
        ...

    def awaiting_attempt(self, via: str, now: float | None) -> Iterator[Job]:
        """Yield the queued and deferred jobs of a record that are due, or all of them if `now` is None.

        The caller may change each.
        """
        ...

    def shift_times(self, seconds: float, now: float, up: float) -> None:
        """Shift the times of jobs after a change of the clock: of unfinished ones, and of those that ended meanwhile.

        If it was set back, the end of a lifetime that has begun by the new time stays: it is not from the wrong clock.

        Args:
            seconds: by how many seconds it was set forward; negative if it was set back.
            now: the time by the clock as it is now.
            up: for how many seconds the wrong clock was in use here.
        """
        ...

    def file_of(self, job_id: int) -> tuple[str | None, int]:
        """Return the name of a job's file, None if it was removed, and the offset of the message in it."""
        ...

    def set_file(self, job_id: int, file: str | None, *, start: int = 0, size: int | None = None) -> None:
        """Give a job another file, or none; `size` is that of the message, None if it has not changed."""
        ...

    def lifetime(self, job_id: int) -> float:
        """Return the lifetime of a job in seconds."""
        ...

    def store(self, job: Job, *, keeps_message: bool = True) -> None:
        """Update everything of a job that a transition changes; without its message, its file is forgotten."""
        ...

    def annotate(self, job: Job, notes: Mapping[str, str]) -> Job:
        """Update the notes of a job; return it."""
        ...

    def find_by_keys(self, new: NewJob, keys: Collection[str]) -> Mapping[str, Job]:
        """Return the jobs that the pipeline of `new` has had accepted with these keys, by key.

        Of a job whose row was deleted, only its id and its final state are known.
        """
        ...

    def delete(self, job_id: int, state: State) -> None:
        """Delete a job; its key is kept, with the state."""
        ...

    def forget_keys(self, before: float, most: int) -> None:
        """Delete the keys of deleted jobs that are older than `before`, and the oldest ones beyond `most`."""
        ...

    def claimed(self) -> list[Job]:
        """Return the jobs that a delivery has claimed, whether or not it awaits the reply."""
        ...

    def unfinished(self) -> list[Job]:
        """Return all unfinished jobs, oldest first."""
        ...

    def with_files(self) -> Iterator[JobFilePlace]:
        """Yield where the messages are that are kept, oldest job first; nothing may be changed meanwhile."""
        ...

    def expired(self, now: float, held_since: float) -> list[tuple[Job, float]]:
        """Return the jobs to fail, and their lifetimes: attempted and expired, or held since before `held_since`."""
        ...

    def releasable(self, failed_before: float, doubtful_before: float) -> list[int]:
        """Return the jobs whose messages need not be kept any more: failed or in doubt since before these times."""
        ...

    def ended(self) -> list[tuple[int, State, float]]:
        """Return the finished jobs, and those in doubt without a message: id, state and last change, newest first."""
        ...


class Mails(Protocol):
    """The fetched mails, and the unique-ids of the maildrops."""

    def insert(self, new: NewMail, now: float) -> int:
        """Insert a mail; return its id."""
        ...

    def load(self, mail_id: int) -> Incoming:
        """Return a mail.

        Raises:
            InputError: there is none.
        """
        ...

    def find_by_digest(self, record: str, digest: str) -> int | None:
        """Return the id of the mail with a digest; None if there is none."""
        ...

    def restore_file(self, mail_id: int, file: str, size: int, digest: str) -> bool:
        """Give a file to a mail that was set aside and has none; tell whether it was such a mail."""
        ...

    def waiting(self, record: str, now: float, limit: int) -> list[Incoming]:
        """Return the mails of a record that are to be handled, oldest first; a clock that was set back delays none."""
        ...

    def newest(self, record: str | None, states: Collection[MailState] | None, limit: int) -> list[Incoming]:
        """Return the newest mails, newest first."""
        ...

    def update(
        self, mail_id: int, now: float, *, state: MailState, reason: str, tries: int, due: float | None = None
    ) -> None:
        """Update everything of a mail that its handling changes."""
        ...

    def count_waiting(self) -> int:
        """Return how many mails are to be handled, over all records."""
        ...

    def count_by_record(self) -> list[tuple[str, MailState, int]]:
        """Return, for each record and state with mails, how many there are."""
        ...

    def with_files(self) -> Iterator[tuple[int, str, int]]:
        """Yield the mails that are kept, oldest first: id, file and size; nothing may be changed meanwhile."""
        ...

    def file_of(self, mail_id: int) -> str | None:
        """Return the name of a mail's file; None if it was removed."""
        ...

    def clear_file(self, mail_id: int) -> None:
        """Record that a mail has no file any more."""
        ...

    def delete(self, mail_id: int) -> None:
        """Delete a mail; its unique-ids are kept, and linked to none."""
        ...

    def shift_times(self, seconds: float, now: float, up: float) -> None:
        """Shift the times of mails whose handling ended by a clock that was wrong; as for `Jobs.shift_times`."""
        ...

    def set_aside_before(self, before: float) -> list[int]:
        """Return the mails with a file that were set aside before then."""
        ...

    def forget_handled(self, before: float) -> None:
        """Delete the mails without a file that were handled before then and that no unique-id is linked to."""
        ...

    def link_uid(self, record: str, uid: str, mail: int, size: int, now: float) -> None:
        """Link a unique-id to a mail; without effect on an empty one."""
        ...

    def mail_of_uid(self, record: str, uid: str) -> int | None:
        """Return the id of the mail that a unique-id is linked to; None if there is none."""
        ...

    def known_uids(self, record: str) -> dict[str, KnownUid]:
        """Return the unique-ids of a record."""
        ...

    def has_polled(self, record: str) -> bool:
        """Tell whether the record was polled before."""
        ...

    def was_lost_since(self, since: float) -> bool:
        """Tell whether the database was lost since then."""
        ...

    def record_first_poll(self, record: str, passed_over: Collection[str], now: float) -> None:
        """Record the first poll of a record, with the unique-ids that it passes over."""
        ...

    def forget_maildrop(self, record: str) -> None:
        """Delete a record's unique-ids and its first poll."""
        ...

    def count_fetch(self, record: str, uid: str, now: float) -> int:
        """Count an attempt to fetch a mail; return how many there were."""
        ...

    def mark_deleted(self, record: str, uids: Collection[str]) -> None:
        """Mark unique-ids as deleted on the server."""
        ...

    def listed_uids(self, record: str) -> list[ListedUid]:
        """Return the unique-ids of a record, and when the server listed them."""
        ...

    def mark_seen(self, record: str, uids: Collection[str], now: float) -> None:
        """Record that the server lists unique-ids now."""
        ...

    def delete_uids(self, record: str, uids: Collection[str]) -> None:
        """Delete unique-ids; their mails are kept."""
        ...

    def is_fetchable(self, mail_id: int) -> bool:
        """Tell whether a mail is linked to a unique-id that was not deleted on the server."""
        ...


class Values(Protocol):
    """The values of the pipelines' stores, as JSON text."""

    def get(self, store: str, key: str) -> str | None:
        """Return a value; None if there is none."""
        ...

    def keys(self, store: str) -> list[str]:
        """Return all keys of a store, in order."""
        ...

    def items(self, store: str) -> list[tuple[str, str]]:
        """Return all keys and values of a store, by key."""
        ...

    def update(self, store: str, values: Mapping[str, str], deleted: Iterable[str]) -> None:
        """Delete some values, then set others."""
        ...


class Repositories(Protocol):
    """The repositories of a spool; they may be used until the end of the transaction."""

    @property
    def jobs(self) -> Jobs:
        """The jobs."""
        ...

    @property
    def mails(self) -> Mails:
        """The mails."""
        ...

    @property
    def values(self) -> Values:
        """The values of the pipelines' stores."""
        ...

    def totals(self, pipeline: str = "", keys: Collection[str] = ()) -> Totals:
        """Return how much there is of what has a limit, and whether a pipeline has used one of these keys.

        Both are returned by one query, since others that share the transaction wait for each.
        """
        ...

    def files(self) -> set[str]:
        """Return the names of the files of all jobs and mails."""
        ...

    def refers_to(self, file: str) -> bool:
        """Tell whether a job or mail has a file of this name."""
        ...

    def has_file(self, file: str) -> bool:
        """Tell whether a committed file is still there, and undamaged as far as is known."""
        ...

    def losses(self) -> list[DatabaseLoss]:
        """Return all losses of the database, oldest first."""
        ...

    def remove_file(self, file: str) -> None:
        """Remove a file that no job and no mail refers to any more, once the transaction is committed."""
        ...
