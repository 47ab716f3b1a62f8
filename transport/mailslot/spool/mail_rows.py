"""The rows of fetched mails and unique-ids; every function must be called in a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.spool.incoming import MAIL_STATES, Incoming, KnownUid, MailState
from mailslot.spool.job_rows import find_row, placeholders, replace_surrogates

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection
    from pathlib import Path

    from mailslot.spool.transaction import SpoolTransaction


def insert(
    connection: sqlite3.Connection,
    record: str,
    uid: str,
    *,
    file: str | None,
    size: int,
    digest: str,
    state: MailState,
    reason: str,
    now: float,
) -> int:
    """Insert a mail; return its id."""
    cursor = connection.execute(
        "INSERT INTO mails (record, uid, state, tries, fetched_at, changed_at, file, size, digest, reason) "
        "VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?)",
        (record, uid, state, now, now, file, size, digest, replace_surrogates(reason)),
    )
    assert cursor.lastrowid is not None  # noqa: S101 - an INSERT has one
    return cursor.lastrowid


def link_uid(connection: sqlite3.Connection, record: str, uid: str, mail: int, size: int, now: float) -> None:
    """Link a unique-id to a mail; without effect on an empty one."""
    if uid:
        connection.execute(
            "INSERT INTO uids (record, uid, mail, passed_over, tries, deleted, seen_at, size) "
            "VALUES (?, ?, ?, 0, 0, 0, ?, ?) ON CONFLICT (record, uid) DO UPDATE SET "
            "mail = excluded.mail, passed_over = 0, seen_at = excluded.seen_at, size = excluded.size",
            (record, uid, mail, now, size or None),
        )


def mail_of_uid(connection: sqlite3.Connection, record: str, uid: str) -> int | None:
    """Return the id of the mail that a unique-id is linked to; None if there is none."""
    row = connection.execute("SELECT mail FROM uids WHERE record = ? AND uid = ?", (record, uid)).fetchone()
    return None if row is None else row["mail"]


def find_by_digest(connection: sqlite3.Connection, record: str, digest: str) -> int | None:
    """Return the id of the mail with a digest; None if there is none."""
    row = connection.execute("SELECT id FROM mails WHERE record = ? AND digest = ?", (record, digest)).fetchone()
    return None if row is None else row["id"]


def restore_file(connection: sqlite3.Connection, mail_id: int, file: str, size: int, digest: str) -> bool:
    """Give a file to a mail that was set aside and has none; tell whether it was such a mail."""
    query = "UPDATE mails SET file = ?, size = ?, digest = ? WHERE id = ? AND file IS NULL AND state = 'set_aside'"
    return connection.execute(query, (file, size, digest, mail_id)).rowcount == 1


def load(connection: sqlite3.Connection, folder: Path, mail_id: int) -> Incoming:
    """Return a mail.

    Raises:
        InputError: there is none.
    """
    row = find_row(connection, "SELECT * FROM mails WHERE id = ?", mail_id)
    if row is None:
        raise InputError(f"There is no mail {mail_id}.", stage="spool", cause="unknown_mail")
    return _mail_of(row, folder)


def waiting(connection: sqlite3.Connection, folder: Path, record: str, now: float, limit: int) -> list[Incoming]:
    """Return the mails of a record that are to be handled, oldest first; a clock that was set back delays none."""
    found = connection.execute(
        "SELECT * FROM mails WHERE record = ? AND state = 'fetched' "
        "AND (due_at IS NULL OR due_at <= ? OR changed_at > ?) ORDER BY id LIMIT ?",
        (record, now, now + 60, limit),
    )
    return [_mail_of(row, folder) for row in found]


def newest(
    connection: sqlite3.Connection, folder: Path, record: str | None, states: Collection[MailState] | None, limit: int
) -> list[Incoming]:
    """Return the newest mails, newest first."""
    wanted = list(MAIL_STATES if states is None else states)
    query = f"SELECT * FROM mails WHERE state IN ({placeholders(wanted)})"  # noqa: S608 - question marks
    values: list[object] = [*wanted]
    if record is not None:
        query += " AND record = ?"
        values.append(record)
    return [_mail_of(row, folder) for row in connection.execute(f"{query} ORDER BY id DESC LIMIT ?", [*values, limit])]


def update(
    connection: sqlite3.Connection,
    mail_id: int,
    now: float,
    *,
    state: MailState,
    reason: str,
    tries: int,
    due: float | None = None,
) -> None:
    """Update the mutable columns of a mail."""
    connection.execute(
        "UPDATE mails SET state = ?, reason = ?, tries = ?, due_at = ?, changed_at = ? WHERE id = ?",
        (state, replace_surrogates(reason), tries, due, now, mail_id),
    )


def release_file(transaction: SpoolTransaction, mail_id: int) -> None:
    """Remove the file of a mail once the transaction is committed."""
    file = transaction.connection.execute("SELECT file FROM mails WHERE id = ?", (mail_id,)).fetchone()["file"]
    if file is not None:
        transaction.connection.execute("UPDATE mails SET file = NULL WHERE id = ?", (mail_id,))
        transaction.discard(file)


def count_waiting(connection: sqlite3.Connection) -> int:
    """Return how many mails are to be handled, over all records."""
    return int(connection.execute("SELECT count(*) FROM mails WHERE state = 'fetched'").fetchone()[0])


def known_uids(connection: sqlite3.Connection, record: str) -> dict[str, KnownUid]:
    """Return the unique-ids of a record."""
    found = connection.execute(
        "SELECT uids.uid, uids.mail, uids.passed_over, uids.tries, uids.deleted, uids.size, mails.state FROM uids "
        "LEFT JOIN mails ON mails.id = uids.mail WHERE uids.record = ?",
        (record,),
    )
    return {
        row["uid"]: KnownUid(
            uid=row["uid"],
            mail=row["mail"],
            state="passed_over" if row["passed_over"] else row["state"],
            tries=row["tries"],
            deleted=bool(row["deleted"]),
            size=row["size"],
        )
        for row in found
    }


def _mail_of(row: sqlite3.Row, folder: Path) -> Incoming:
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
