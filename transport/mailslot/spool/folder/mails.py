"""The fetched mails of a spool, and the unique-ids of its maildrops, in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.spool.folder.jobs import find_row, placeholders
from mailslot.spool.incoming import MAIL_STATES, Incoming, KnownUid, MailState, NewMail
from mailslot.spool.repositories import ListedUid
from mailslot.spool.row_mapping import found_mail, known_uid_of, mail_of, replace_surrogates

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator
    from pathlib import Path


class SqliteMails:
    """The fetched mails of a spool, in a transaction; see `mailslot.spool.repositories.Mails`."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder

    def insert(self, new: NewMail, now: float) -> int:
        """Insert a mail; return its id."""
        cursor = self._connection.execute(
            "INSERT INTO mails (record, uid, state, tries, fetched_at, changed_at, file, size, digest, reason) "
            "VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?)",
            (
                new.record,
                new.uid,
                new.state,
                now,
                now,
                new.file,
                new.size,
                new.digest,
                replace_surrogates(new.reason),
            ),
        )
        assert cursor.lastrowid is not None  # noqa: S101 - an INSERT has one
        return cursor.lastrowid

    def link_uid(self, record: str, uid: str, mail: int, size: int, now: float) -> None:
        """Link a unique-id to a mail; without effect on an empty one."""
        if uid:
            self._connection.execute(
                "INSERT INTO uids (record, uid, mail, passed_over, tries, deleted, seen_at, size) "
                "VALUES (?, ?, ?, 0, 0, 0, ?, ?) ON CONFLICT (record, uid) DO UPDATE SET "
                "mail = excluded.mail, passed_over = 0, seen_at = excluded.seen_at, size = excluded.size",
                (record, uid, mail, now, size or None),
            )

    def mail_of_uid(self, record: str, uid: str) -> int | None:
        """Return the id of the mail that a unique-id is linked to; None if there is none."""
        row = self._connection.execute("SELECT mail FROM uids WHERE record = ? AND uid = ?", (record, uid)).fetchone()
        return None if row is None else row["mail"]

    def find_by_digest(self, record: str, digest: str) -> int | None:
        """Return the id of the mail with a digest; None if there is none."""
        row = self._connection.execute(
            "SELECT id FROM mails WHERE record = ? AND digest = ?", (record, digest)
        ).fetchone()
        return None if row is None else row["id"]

    def restore_file(self, mail_id: int, file: str, size: int, digest: str) -> bool:
        """Give a file to a mail that was set aside and has none; tell whether it was such a mail."""
        query = "UPDATE mails SET file = ?, size = ?, digest = ? WHERE id = ? AND file IS NULL AND state = 'set_aside'"
        return self._connection.execute(query, (file, size, digest, mail_id)).rowcount == 1

    def load(self, mail_id: int) -> Incoming:
        """Return a mail.

        Raises:
            InputError: there is none.
        """
        row = find_row(self._connection, "SELECT * FROM mails WHERE id = ?", mail_id)
        return found_mail(row, mail_id, self._folder)

    def waiting(self, record: str, now: float, limit: int) -> list[Incoming]:
        """Return the mails of a record that are to be handled, oldest first; a clock that was set back delays none."""
        found = self._connection.execute(
            "SELECT * FROM mails WHERE record = ? AND state = 'fetched' "
            "AND (due_at IS NULL OR due_at <= ? OR changed_at > ?) ORDER BY id LIMIT ?",
            (record, now, now + 60, limit),
        )
        return [mail_of(row, self._folder) for row in found]

    def newest(self, record: str | None, states: Collection[MailState] | None, limit: int) -> list[Incoming]:
        """Return the newest mails, newest first."""
        wanted = list(MAIL_STATES if states is None else states)
        query = f"SELECT * FROM mails WHERE state IN ({placeholders(wanted)})"  # noqa: S608 - question marks
        values: list[object] = [*wanted]
        if record is not None:
            query += " AND record = ?"
            values.append(record)
        return [
            mail_of(row, self._folder)
            for row in self._connection.execute(f"{query} ORDER BY id DESC LIMIT ?", [*values, limit])
        ]

    def update(
        self,
        mail_id: int,
        now: float,
        *,
        state: MailState,
        reason: str,
        tries: int,
        due: float | None = None,
    ) -> None:
        """Update the mutable columns of a mail."""
        self._connection.execute(
            "UPDATE mails SET state = ?, reason = ?, tries = ?, due_at = ?, changed_at = ? WHERE id = ?",
            (state, replace_surrogates(reason), tries, due, now, mail_id),
        )

    def count_waiting(self) -> int:
        """Return how many mails are to be handled, over all records."""
        return int(self._connection.execute("SELECT count(*) FROM mails WHERE state = 'fetched'").fetchone()[0])

    def known_uids(self, record: str) -> dict[str, KnownUid]:
        """Return the unique-ids of a record."""
        found = self._connection.execute(
            "SELECT uids.uid, uids.mail, uids.passed_over, uids.tries, uids.deleted, uids.size, mails.state FROM uids "
            "LEFT JOIN mails ON mails.id = uids.mail WHERE uids.record = ?",
            (record,),
        )
        return {row["uid"]: known_uid_of(row) for row in found}

    # Polling

    def has_polled(self, record: str) -> bool:
        """Tell whether the record was polled before."""
        query = "SELECT 1 FROM maildrops WHERE record = ?"
        return self._connection.execute(query, (record,)).fetchone() is not None

    def was_lost_since(self, since: float) -> bool:
        """Tell whether the database was lost since then."""
        return self._connection.execute("SELECT 1 FROM losses WHERE at > ?", (since,)).fetchone() is not None

    def record_first_poll(self, record: str, passed_over: Collection[str], now: float) -> None:
        """Record the first poll of a record, with the unique-ids that it passes over."""
        self._connection.execute("INSERT OR IGNORE INTO maildrops VALUES (?, ?)", (record, now))
        self._connection.executemany(
            "INSERT OR IGNORE INTO uids (record, uid, passed_over, tries, deleted, seen_at) VALUES (?, ?, 1, 0, 0, ?)",
            [(record, uid, now) for uid in passed_over if uid],
        )

    def forget_maildrop(self, record: str) -> None:
        """Delete a record's unique-ids and its first poll."""
        self._connection.execute("DELETE FROM uids WHERE record = ?", (record,))
        self._connection.execute("DELETE FROM maildrops WHERE record = ?", (record,))

    def count_fetch(self, record: str, uid: str, now: float) -> int:
        """Count an attempt to fetch a mail; return how many there were."""
        self._connection.execute(
            "INSERT INTO uids (record, uid, passed_over, tries, deleted, seen_at) VALUES (?, ?, 0, 1, 0, ?) "
            "ON CONFLICT (record, uid) DO UPDATE SET tries = tries + 1, passed_over = 0",
            (record, uid, now),
        )
        row = self._connection.execute("SELECT tries FROM uids WHERE record = ? AND uid = ?", (record, uid))
        return int(row.fetchone()[0])

    def mark_deleted(self, record: str, uids: Collection[str]) -> None:
        """Mark unique-ids as deleted on the server."""
        self._connection.executemany(
            "UPDATE uids SET deleted = 1 WHERE record = ? AND uid = ?", [(record, uid) for uid in uids]
        )

    def listed_uids(self, record: str) -> list[ListedUid]:
        """Return the unique-ids of a record, and when the server listed them."""
        found = self._connection.execute("SELECT uid, seen_at, deleted FROM uids WHERE record = ?", (record,))
        return [ListedUid(row["uid"], row["seen_at"], bool(row["deleted"])) for row in found]

    def mark_seen(self, record: str, uids: Collection[str], now: float) -> None:
        """Record that the server lists unique-ids now."""
        self._connection.executemany(
            "UPDATE uids SET seen_at = ? WHERE record = ? AND uid = ?", [(now, record, uid) for uid in uids]
        )

    def delete_uids(self, record: str, uids: Collection[str]) -> None:
        """Delete unique-ids; their mails are kept."""
        self._connection.executemany("DELETE FROM uids WHERE record = ? AND uid = ?", [(record, uid) for uid in uids])

    def is_fetchable(self, mail_id: int) -> bool:
        """Tell whether a mail is linked to a unique-id that was not deleted on the server."""
        query = "SELECT 1 FROM uids WHERE mail = ? AND NOT deleted"
        return self._connection.execute(query, (mail_id,)).fetchone() is not None

    # Keeping

    def count_by_record(self) -> list[tuple[str, MailState, int]]:
        """Return, for each record and state with mails, how many there are."""
        query = "SELECT record, state, count(*) FROM mails GROUP BY record, state"
        return [tuple(row) for row in self._connection.execute(query)]

    def with_files(self) -> Iterator[tuple[int, str, int]]:
        """Yield the mails that are kept, oldest first: id, file and size; nothing may be changed meanwhile."""
        for row in self._connection.execute("SELECT id, file, size FROM mails WHERE file IS NOT NULL ORDER BY id"):
            yield row["id"], row["file"], row["size"]

    def file_of(self, mail_id: int) -> str | None:
        """Return the name of a mail's file; None if it was removed."""
        row = self._connection.execute("SELECT file FROM mails WHERE id = ?", (mail_id,)).fetchone()
        return None if row is None else row["file"]

    def clear_file(self, mail_id: int) -> None:
        """Record that a mail has no file any more."""
        self._connection.execute("UPDATE mails SET file = NULL WHERE id = ?", (mail_id,))

    def delete(self, mail_id: int) -> None:
        """Delete a mail; its unique-ids are kept, and linked to none."""
        self._connection.execute("UPDATE uids SET mail = NULL WHERE mail = ?", (mail_id,))
        self._connection.execute("DELETE FROM mails WHERE id = ?", (mail_id,))

    def shift_times(self, seconds: float, now: float, up: float) -> None:
        """Shift the times of mails whose handling ended by a clock that was wrong."""
        self._connection.execute(
            "UPDATE mails SET changed_at = changed_at + :seconds WHERE state != 'fetched' "
            "AND changed_at BETWEEN :first AND :last",
            {"seconds": seconds, "first": now - seconds - up, "last": now - seconds},
        )

    def set_aside_before(self, before: float) -> list[int]:
        """Return the mails with a file that were set aside before then."""
        query = "SELECT id FROM mails WHERE file IS NOT NULL AND state = 'set_aside' AND changed_at < ?"
        return [row["id"] for row in self._connection.execute(query, (before,)).fetchall()]

    def forget_handled(self, before: float) -> None:
        """Delete the mails without a file that were handled before then and that no unique-id is linked to."""
        self._connection.execute(
            "DELETE FROM mails WHERE state != 'fetched' AND file IS NULL AND changed_at < ? "
            "AND id NOT IN (SELECT mail FROM uids WHERE mail IS NOT NULL)",
            (before,),
        )
