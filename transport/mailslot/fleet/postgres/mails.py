"""The fetched mails of a spool, and the unique-ids of its maildrops, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailslot.fleet.postgres.rows import LARGEST, DeviceRows, clean
from mailslot.spool.incoming import MAIL_STATES, Incoming, KnownUid, MailState, NewMail
from mailslot.spool.repositories import ListedUid
from mailslot.spool.row_mapping import found_mail, known_uid_of, mail_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from mailslot.fleet.postgres.database import DeviceId, Rows

_LISTED: Final = "device = %(device)s AND record = %(record)s AND uid = ANY(%(uids)s)"


class PostgresMails(DeviceRows):
    """The fetched mails of a spool, in a transaction; see `mailslot.spool.repositories.Mails`.

    Args:
        connection: the database.
        device: the device.
        folder: where files are put for pipelines.
    """

    def __init__(self, connection: Rows, device: DeviceId, folder: Path) -> None:
        super().__init__(connection, device)
        self._folder = folder

    def insert(self, new: NewMail, now: float) -> int:
        """Insert a mail; return its id."""
        mail_id = int(
            self.value(
                "UPDATE device_state SET last_mail = last_mail + 1 WHERE device = %(device)s RETURNING last_mail AS id"
            )
        )
        self.execute(
            "INSERT INTO mails (tenant, device, id, record, uid, state, tries, fetched_at, changed_at, file, size, "
            "digest, reason) VALUES (%(tenant)s, %(device)s, %(id)s, %(record)s, %(uid)s, %(state)s, 0, %(now)s, "
            "%(now)s, %(file)s, %(size)s, %(digest)s, %(reason)s)",
            id=mail_id,
            record=new.record,
            uid=clean(new.uid),
            state=new.state,
            now=now,
            file=new.file,
            size=new.size,
            digest=new.digest,
            reason=clean(new.reason),
        )
        return mail_id

    def load(self, mail_id: int) -> Incoming:
        """Return a mail.

        Raises:
            InputError: there is none.
        """
        row = None
        if abs(mail_id) <= LARGEST:
            row = self.one("SELECT * FROM mails WHERE device = %(device)s AND id = %(id)s", id=mail_id)
        return found_mail(row, mail_id, self._folder)

    def find_by_digest(self, record: str, digest: str) -> int | None:
        """Return the id of the mail with a digest; None if there is none."""
        query = (
            "SELECT id FROM mails WHERE device = %(device)s AND record = %(record)s AND digest = %(digest)s "
            "ORDER BY id LIMIT 1"
        )
        return self.number(query, record=record, digest=digest)

    def restore_file(self, mail_id: int, file: str, size: int, digest: str) -> bool:
        """Give a file to a mail that was set aside and has none; tell whether it was such a mail."""
        cursor = self.execute(
            "UPDATE mails SET file = %(file)s, size = %(size)s, digest = %(digest)s WHERE device = %(device)s "
            "AND id = %(id)s AND file IS NULL AND state = 'set_aside'",
            id=mail_id,
            file=file,
            size=size,
            digest=digest,
        )
        return cursor.rowcount == 1

    def waiting(self, record: str, now: float, limit: int) -> list[Incoming]:
        """Return the mails of a record that are to be handled, oldest first; a clock that was set back delays none."""
        found = self.all(
            "SELECT * FROM mails WHERE device = %(device)s AND record = %(record)s AND state = 'fetched' "
            "AND (due_at IS NULL OR due_at <= %(now)s OR changed_at > %(soon)s) ORDER BY id LIMIT %(limit)s",
            record=record,
            now=now,
            soon=now + 60,
            limit=limit,
        )
        return [mail_of(row, self._folder) for row in found]

    def newest(self, record: str | None, states: Collection[MailState] | None, limit: int) -> list[Incoming]:
        """Return the newest mails, newest first."""
        query = "SELECT * FROM mails WHERE device = %(device)s AND state = ANY(%(states)s)"
        values: dict[str, Any] = {"states": list(MAIL_STATES if states is None else states), "limit": limit}
        if record is not None:
            query += " AND record = %(record)s"
            values["record"] = record
        return [mail_of(row, self._folder) for row in self.all(f"{query} ORDER BY id DESC LIMIT %(limit)s", **values)]

    def update(
        self, mail_id: int, now: float, *, state: MailState, reason: str, tries: int, due: float | None = None
    ) -> None:
        """Update everything of a mail that its handling changes."""
        self.execute(
            "UPDATE mails SET state = %(state)s, reason = %(reason)s, tries = %(tries)s, due_at = %(due)s, "
            "changed_at = %(now)s WHERE device = %(device)s AND id = %(id)s",
            id=mail_id,
            state=state,
            reason=clean(reason),
            tries=tries,
            due=due,
            now=now,
        )

    def count_waiting(self) -> int:
        """Return how many mails are to be handled, over all records."""
        return int(self.value("SELECT count(*) FROM mails WHERE device = %(device)s AND state = 'fetched'"))

    def count_by_record(self) -> list[tuple[str, MailState, int]]:
        """Return, for each record and state with mails, how many there are."""
        query = "SELECT record, state, count(*) FROM mails WHERE device = %(device)s GROUP BY record, state"
        return [(record, MAIL_STATES[MAIL_STATES.index(state)], count) for record, state, count in self.tuples(query)]

    def with_files(self) -> Iterator[tuple[int, str, int]]:
        """Yield the mails that are kept, oldest first: id, file and size."""
        found = self.tuples(
            "SELECT id, file, size FROM mails WHERE device = %(device)s AND file IS NOT NULL ORDER BY id"
        )
        return ((number, file, size) for number, file, size in found)

    def file_of(self, mail_id: int) -> str | None:
        """Return the name of a mail's file; None if it was removed."""
        return self.text("SELECT file FROM mails WHERE device = %(device)s AND id = %(id)s", id=mail_id)

    def clear_file(self, mail_id: int) -> None:
        """Record that a mail has no file any more."""
        self.execute("UPDATE mails SET file = NULL WHERE device = %(device)s AND id = %(id)s", id=mail_id)

    def delete(self, mail_id: int) -> None:
        """Delete a mail; its unique-ids are kept, and linked to none."""
        self.execute("UPDATE uids SET mail = NULL WHERE device = %(device)s AND mail = %(id)s", id=mail_id)
        self.execute("DELETE FROM mails WHERE device = %(device)s AND id = %(id)s", id=mail_id)

    def shift_times(self, seconds: float, now: float, up: float) -> None:
        """Shift the times of mails whose handling ended by a clock that was wrong."""
        self.execute(
            "UPDATE mails SET changed_at = changed_at + %(seconds)s WHERE device = %(device)s AND state <> 'fetched' "
            "AND changed_at BETWEEN %(first)s AND %(last)s",
            seconds=seconds,
            first=now - seconds - up,
            last=now - seconds,
        )

    def set_aside_before(self, before: float) -> list[int]:
        """Return the mails with a file that were set aside before then."""
        found = self.tuples(
            "SELECT id FROM mails WHERE device = %(device)s AND file IS NOT NULL AND state = 'set_aside' "
            "AND changed_at < %(before)s",
            before=before,
        )
        return [number for (number,) in found]

    def forget_handled(self, before: float) -> None:
        """Delete the mails without a file that were handled before then and that no unique-id is linked to."""
        self.execute(
            "DELETE FROM mails WHERE device = %(device)s AND state <> 'fetched' AND file IS NULL "
            "AND changed_at < %(before)s AND NOT EXISTS (SELECT FROM uids WHERE uids.device = mails.device "
            "AND uids.mail = mails.id)",
            before=before,
        )

    # Polling

    def link_uid(self, record: str, uid: str, mail: int, size: int, now: float) -> None:
        """Link a unique-id to a mail; without effect on an empty one."""
        if uid:
            self.execute(
                "INSERT INTO uids (tenant, device, record, uid, mail, passed_over, tries, deleted, seen_at, size) "
                "VALUES (%(tenant)s, %(device)s, %(record)s, %(uid)s, %(mail)s, false, 0, false, %(now)s, %(size)s) "
                "ON CONFLICT (device, record, uid) DO UPDATE SET mail = excluded.mail, passed_over = false, "
                "seen_at = excluded.seen_at, size = excluded.size",
                record=record,
                uid=clean(uid),
                mail=mail,
                now=now,
                size=size or None,
            )

    def mail_of_uid(self, record: str, uid: str) -> int | None:
        """Return the id of the mail that a unique-id is linked to; None if there is none."""
        query = "SELECT mail FROM uids WHERE device = %(device)s AND record = %(record)s AND uid = %(uid)s"
        return self.number(query, record=record, uid=clean(uid))

    def known_uids(self, record: str) -> dict[str, KnownUid]:
        """Return the unique-ids of a record."""
        found = self.all(
            "SELECT uids.uid, uids.mail, uids.passed_over, uids.tries, uids.deleted, uids.size, mails.state FROM uids "
            "LEFT JOIN mails ON mails.device = uids.device AND mails.id = uids.mail "
            "WHERE uids.device = %(device)s AND uids.record = %(record)s",
            record=record,
        )
        return {row["uid"]: known_uid_of(row) for row in found}

    def has_polled(self, record: str) -> bool:
        """Tell whether the record was polled before."""
        query = "SELECT 1 FROM maildrops WHERE device = %(device)s AND record = %(record)s"
        return self.one(query, record=record) is not None

    def was_lost_since(self, since: float) -> bool:
        """Tell whether the database was lost since then."""
        return self.one("SELECT 1 FROM losses WHERE device = %(device)s AND at > %(since)s", since=since) is not None

    def record_first_poll(self, record: str, passed_over: Collection[str], now: float) -> None:
        """Record the first poll of a record, with the unique-ids that it passes over."""
        self.execute(
            "INSERT INTO maildrops (tenant, device, record, begun_at) VALUES (%(tenant)s, %(device)s, %(record)s, "
            "%(now)s) ON CONFLICT (device, record) DO NOTHING",
            record=record,
            now=now,
        )
        self.execute_many(
            "INSERT INTO uids (tenant, device, record, uid, passed_over, tries, deleted, seen_at) VALUES (%(tenant)s, "
            "%(device)s, %(record)s, %(uid)s, true, 0, false, %(now)s) ON CONFLICT (device, record, uid) DO NOTHING",
            [{"record": record, "uid": clean(uid), "now": now} for uid in passed_over if uid],
        )

    def forget_maildrop(self, record: str) -> None:
        """Delete a record's unique-ids and its first poll."""
        self.execute("DELETE FROM uids WHERE device = %(device)s AND record = %(record)s", record=record)
        self.execute("DELETE FROM maildrops WHERE device = %(device)s AND record = %(record)s", record=record)

    def count_fetch(self, record: str, uid: str, now: float) -> int:
        """Count an attempt to fetch a mail; return how many there were."""
        return int(
            self.value(
                "INSERT INTO uids (tenant, device, record, uid, passed_over, tries, deleted, seen_at) "
                "VALUES (%(tenant)s, %(device)s, %(record)s, %(uid)s, false, 1, false, %(now)s) "
                "ON CONFLICT (device, record, uid) DO UPDATE SET tries = uids.tries + 1, passed_over = false "
                "RETURNING tries",
                record=record,
                uid=clean(uid),
                now=now,
            )
        )

    def mark_deleted(self, record: str, uids: Collection[str]) -> None:
        """Mark unique-ids as deleted on the server."""
        query = f"UPDATE uids SET deleted = true WHERE {_LISTED}"
        self.execute(query, record=record, uids=[clean(uid) for uid in uids])

    def listed_uids(self, record: str) -> list[ListedUid]:
        """Return the unique-ids of a record, and when the server listed them."""
        query = "SELECT uid, seen_at, deleted FROM uids WHERE device = %(device)s AND record = %(record)s"
        return [ListedUid(*row) for row in self.tuples(query, record=record)]

    def mark_seen(self, record: str, uids: Collection[str], now: float) -> None:
        """Record that the server lists unique-ids now."""
        query = f"UPDATE uids SET seen_at = %(now)s WHERE {_LISTED}"
        self.execute(query, record=record, uids=[clean(uid) for uid in uids], now=now)

    def delete_uids(self, record: str, uids: Collection[str]) -> None:
        """Delete unique-ids; their mails are kept."""
        query = f"DELETE FROM uids WHERE {_LISTED}"
        self.execute(query, record=record, uids=[clean(uid) for uid in uids])

    def is_fetchable(self, mail_id: int) -> bool:
        """Tell whether a mail is linked to a unique-id that was not deleted on the server."""
        query = "SELECT 1 FROM uids WHERE device = %(device)s AND mail = %(id)s AND NOT deleted"
        return self.one(query, id=mail_id) is not None
