"""How jobs and mails are kept in rows, in any database: as columns of these names, and lists as JSON text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol

from mailslot.errors import InputError
from mailslot.spool.incoming import MAIL_STATES, Incoming, KnownUid
from mailslot.spool.job import STATES, Job, NewJob, Recipient, State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from mailslot.spool.job_envelope import JobEnvelope

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "jobs": (
        "id",
        "state",
        "via",
        "pipeline",
        "next_attempt",
        "changed_at",
        "created_at",
        "expires_at",
        "lifetime",
        "attempts",
        "doubts",
        "file",
        "start",
        "size",
        "eight_bit",
        "smtputf8",
        "delivering",
        "cause",
        "message_id",
        "sender",
        "subject",
        "sentence",
        "reply",
        "notes",
        "recipients",
    ),
    "keys": ("pipeline", "key", "job", "state", "at"),
    "mails": (
        "id",
        "record",
        "uid",
        "state",
        "tries",
        "due_at",
        "fetched_at",
        "changed_at",
        "file",
        "size",
        "digest",
        "reason",
    ),
    "uids": ("record", "uid", "mail", "passed_over", "tries", "deleted", "seen_at", "size"),
    "maildrops": ("record", "begun_at"),
    "memory": ("store", "key", "value"),
    "losses": ("at", "found", "damaged"),
}
"""The columns of all tables, in an order in which they can be filled."""

FLAGS: Final = frozenset({"eight_bit", "smtputf8", "delivering", "passed_over", "deleted"})
"""The columns that are either true or false."""


class Row(Protocol):
    """A row of a database, by the names of its columns."""

    def __getitem__(self, key: str, /) -> Any:  # noqa: ANN401 - what the column holds
        """Return the value of a column."""
        ...


def replace_surrogates(text: str) -> str:
    """Return `text` with ``?`` in place of lone surrogates, which databases reject."""
    return text.encode("utf-8", "replace").decode()


def recipients_text(recipients: Collection[Recipient]) -> str:
    """Return recipients as they stand in a row."""
    return json.dumps([[each.address, each.state, each.reply, each.cause] for each in recipients])


def job_of(row: Row) -> Job:
    """Return the job in a row of ``jobs``."""
    recipients: list[list[Any]] = json.loads(row["recipients"])
    notes: Mapping[str, str] = json.loads(row["notes"])
    return Job(
        id=row["id"],
        pipeline=row["pipeline"],
        via=row["via"],
        state=state_of(row["state"]),
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


def job_of_envelope(envelope: JobEnvelope, job_id: int, now: float) -> Job:
    """Return the job whose row was inserted for an envelope: the same as would be read from it."""
    new, due_at = envelope.new, envelope.due_at(now)
    return Job(
        id=job_id,
        pipeline=new.pipeline,
        via=new.via,
        state="queued" if due_at is None else "deferred",
        sender=new.sender,
        recipients=tuple([Recipient(address) for address in new.recipients]),
        subject=replace_surrogates(new.subject),
        size=envelope.size,
        created_at=envelope.created_at,
        changed_at=now,
        attempts=0,
        doubts=0,
        next_attempt=due_at,
        expires_at=envelope.expires_at,
        cause=None,
        sentence="",
        reply="",
        message_id=new.message_id,
        notes=dict(new.notes),
        eight_bit=envelope.eight_bit,
        smtputf8=envelope.smtputf8,
    )


def found_job(row: Row | None, job_id: int) -> Job:
    """Return the job in the row that was found for an id.

    Raises:
        InputError: `unknown_job`, there is none.
    """
    if row is None:
        raise InputError(f"There is no job {job_id}.", stage="spool", cause="unknown_job")
    return job_of(row)


def job_of_key(row: Row, new: NewJob) -> Job:
    """Return what a row of ``keys`` tells about the job of `new` whose own row was deleted: its id and its state."""
    return Job(
        id=row["job"],
        pipeline=new.pipeline,
        via=new.via,
        state=state_of(row["state"]),
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


def mail_of(row: Row, folder: Path) -> Incoming:
    """Return the mail in a row of ``mails``, whose file is in `folder`."""
    return Incoming(
        id=row["id"],
        record=row["record"],
        uid=row["uid"],
        path=None if row["file"] is None else folder / row["file"],
        size=row["size"],
        digest=row["digest"],
        fetched_at=row["fetched_at"],
        tries=row["tries"],
        state=MAIL_STATES[MAIL_STATES.index(row["state"])],
        reason=row["reason"],
        due_at=row["due_at"],
    )


def found_mail(row: Row | None, mail_id: int, folder: Path) -> Incoming:
    """Return the mail in the row that was found for an id; see `mail_of`.

    Raises:
        InputError: `unknown_mail`, there is none.
    """
    if row is None:
        raise InputError(f"There is no mail {mail_id}.", stage="spool", cause="unknown_mail")
    return mail_of(row, folder)


def known_uid_of(row: Row) -> KnownUid:
    """Return the unique-id in a row of ``uids`` that is joined with the state of its mail."""
    return KnownUid(
        uid=row["uid"],
        mail=row["mail"],
        state="passed_over" if row["passed_over"] else row["state"],
        tries=row["tries"],
        deleted=bool(row["deleted"]),
        size=row["size"],
    )


def state_of(text: str) -> State:
    """Return the state of a job that a column holds."""
    return STATES[STATES.index(text)]
