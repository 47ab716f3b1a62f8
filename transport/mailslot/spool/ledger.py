"""The ledger of fetched mail: the unique-ids of each maildrop, and the state of each mail.

A mail is safe once `Ledger.receive` has ended: its file is synced and its row is committed. Only then may it be deleted
on the server. It is handled from the spool, and only once: mails with the same digest are the same mail, even if the
server gives it another unique-id, or none.
"""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import anyio.to_thread

from mailslot.errors import InputError
from mailslot.spool import mail_rows
from mailslot.spool.incoming_file import IncomingFile, check_room
from mailslot.spool.locks import exclusive_lock
from mailslot.spool.transaction import SpoolTransaction, run_transaction

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection
    from pathlib import Path

    from mailslot.spool.database import Database
    from mailslot.spool.incoming import Incoming, KnownUid, MailState
    from mailslot.spool.limits import SpoolLimits

T = TypeVar("T")

_RECORD: Final = re.compile(r"(?:account\.)?[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_DAY: Final = 86_400.0


class Ledger:
    """The mail of all records. Every method may raise `mailslot.spool.errors.SpoolError`.

    Args:
        database: the spool's database.
        folder: its folder.
        limits: how much it holds.
        clock: the time in seconds since 1970.
    """

    def __init__(self, database: Database, folder: Path, limits: SpoolLimits, clock: Callable[[], float]) -> None:
        self._database = database
        self._folder = folder
        self._limits = limits
        self._clock = clock

    # For the poller

    def polling_lock(self, record: str, *, timeout: float = 0.0) -> AbstractAsyncContextManager[None]:
        """Return the lock for polling a record, as a context manager; raises `spool_busy` if it is held elsewhere."""
        sentence = "Another process of mailslot is polling this mailbox."
        return exclusive_lock(self._folder / f"polling-{_check_record(record)}.lock", sentence, timeout=timeout)

    async def has_polled(self, record: str) -> bool:
        """Tell whether the record was polled before."""
        query = "SELECT 1 FROM maildrops WHERE record = ?"
        return await self._database.read(lambda c: c.execute(query, (record,)).fetchone() is not None)

    async def was_lost(self) -> bool:
        """Tell whether the ledger was lost recently, so that a record may have been polled before without a trace.

        Its next poll must pass over the mail that is there, whatever the settings say: it may have been handled.
        """
        since = self._clock() - self._limits.uid_retention
        query = "SELECT 1 FROM losses WHERE at > ?"
        return await self._database.read(lambda c: c.execute(query, (since,)).fetchone() is not None)

    async def record_first_poll(self, record: str, passed_over: Collection[str] = ()) -> None:
        """Record the first poll of a record, with the unique-ids of older mail that is not to be fetched."""
        _check_record(record)

        def work(transaction: SpoolTransaction) -> None:
            transaction.connection.execute("INSERT OR IGNORE INTO maildrops VALUES (?, ?)", (record, transaction.now))
            transaction.connection.executemany(
                "INSERT OR IGNORE INTO uids (record, uid, passed_over, tries, deleted, seen_at) "
                "VALUES (?, ?, 1, 0, 0, ?)",
                [(record, uid, transaction.now) for uid in passed_over if uid],
            )

        await self._run(work)

    async def forget_maildrop(self, record: str) -> None:
        """Forget a record's unique-ids and its first poll, because it now has another maildrop.

        Mail that was fetched from the old one is kept, and handled.
        """

        def work(transaction: SpoolTransaction) -> None:
            transaction.connection.execute("DELETE FROM uids WHERE record = ?", (record,))
            transaction.connection.execute("DELETE FROM maildrops WHERE record = ?", (record,))

        await self._run(work)

    async def known_uids(self, record: str) -> dict[str, KnownUid]:
        """Return the unique-ids of a record."""
        return await self._database.read(lambda connection: mail_rows.known_uids(connection, record))

    async def count_fetch(self, record: str, uid: str) -> int:
        """Count an attempt to fetch a mail, before RETR; return how many there were, including this one.

        Without a unique-id attempts cannot be counted, and the result is 1.
        """
        _check_record(record)
        if not uid:
            return 1

        def work(transaction: SpoolTransaction) -> int:
            transaction.connection.execute(
                "INSERT INTO uids (record, uid, passed_over, tries, deleted, seen_at) VALUES (?, ?, 0, 1, 0, ?) "
                "ON CONFLICT (record, uid) DO UPDATE SET tries = tries + 1, passed_over = 0",
                (record, uid, transaction.now),
            )
            row = transaction.connection.execute("SELECT tries FROM uids WHERE record = ? AND uid = ?", (record, uid))
            return int(row.fetchone()[0])

        return await self._run(work)

    @asynccontextmanager
    async def receive(self, record: str, uid: str, size: int = 0) -> AsyncGenerator[IncomingFile]:
        """Write a mail into the spool: ``async with ledger.receive(record, uid) as file: await file.write(chunk)``.

        When the block ends, the mail is on the disk and in the ledger, and is `IncomingFile.mail`. If the block raises
        or is cancelled, the file is removed.

        Args:
            record: the record through which it is fetched.
            uid: its unique-id; ``""`` if it has none.
            size: the octets that the server announced, to detect a full disk early; 0 if unknown.

        Raises:
            SpoolError: `spool_full`, with the numbers, on entering or in the block.
        """
        _check_record(record)
        await self._database.read(partial(check_room, self._folder, self._limits, size))
        file = IncomingFile(self._database, self._folder, self._limits, record, uid, size, self._clock)
        try:
            yield file
            await file.commit()
        finally:
            with anyio.CancelScope(shield=True):
                await file.discard()

    async def set_aside_unfetched(self, record: str, uid: str, size: int, reason: str) -> Incoming:
        """Set a mail aside without fetching it, such as one that is too large; it stays on the server."""
        _check_record(record)

        def work(transaction: SpoolTransaction) -> Incoming:
            connection = transaction.connection
            if uid and (existing := mail_rows.mail_of_uid(connection, record, uid)) is not None:
                return mail_rows.load(connection, self._folder, existing)
            mail = mail_rows.insert(
                connection,
                record,
                uid,
                file=None,
                size=size,
                digest="",
                state="set_aside",
                reason=reason,
                now=transaction.now,
            )
            mail_rows.link_uid(connection, record, uid, mail, size, transaction.now)
            return mail_rows.load(connection, self._folder, mail)

        return await self._run(work)

    async def mark_deleted(self, record: str, uids: Collection[str]) -> None:
        """Record that the server was told to delete mails; the next listing shows whether it did."""

        def work(transaction: SpoolTransaction) -> None:
            transaction.connection.executemany(
                "UPDATE uids SET deleted = 1 WHERE record = ? AND uid = ?", [(record, uid) for uid in uids]
            )

        await self._run(work)

    async def forget_unlisted(self, record: str, listed: Collection[str]) -> int:
        """Forget the unique-ids that the server no longer lists; return how many.

        One whose mail was deleted is forgotten at once, since the server may reuse it (RFC 1939 section 7). The others
        may be listed again, and are kept for a long time.

        Args:
            record: the record.
            listed: all unique-ids that the server lists now, from a complete listing.
        """
        listed_uids = set(listed)

        def work(transaction: SpoolTransaction) -> int:
            query = "SELECT uid, seen_at, deleted FROM uids WHERE record = ?"
            found = transaction.connection.execute(query, (record,)).fetchall()
            seen = [
                row["uid"]
                for row in found
                if row["uid"] in listed_uids and abs(transaction.now - row["seen_at"]) > _DAY
            ]
            transaction.connection.executemany(
                "UPDATE uids SET seen_at = ? WHERE record = ? AND uid = ?",
                [(transaction.now, record, uid) for uid in seen],
            )
            oldest = transaction.now - self._limits.uid_retention
            left = [row for row in found if row["uid"] not in listed_uids]
            forgotten = [row["uid"] for row in left if row["deleted"] or row["seen_at"] < oldest]
            _delete_uids(transaction, record, forgotten)
            return len(forgotten)

        return await self._run(work)

    async def forget_uids(self, record: str, uids: Collection[str]) -> None:
        """Forget unique-ids that the server has reused for other mails; the mails fetched by them are kept."""
        await self._run(lambda transaction: _delete_uids(transaction, record, uids))

    # Handling

    async def waiting(self, record: str, now: float | None = None, *, limit: int = 100) -> list[Incoming]:
        """Return the mails that are to be handled now, oldest first."""
        timestamp = self._clock() if now is None else now
        return await self._database.read(lambda c: mail_rows.waiting(c, self._folder, record, timestamp, limit))

    async def mail(self, mail_id: int) -> Incoming:
        """Return a mail.

        Raises:
            InputError: `unknown_mail`, there is none.
        """
        return await self._database.read(lambda connection: mail_rows.load(connection, self._folder, mail_id))

    async def mails(
        self, record: str | None = None, *, states: Collection[MailState] | None = None, limit: int = 100
    ) -> list[Incoming]:
        """Return the newest mails, newest first."""
        return await self._database.read(lambda c: mail_rows.newest(c, self._folder, record, states, limit))

    async def count_by_record(self) -> list[tuple[str, MailState, int]]:
        """Return, for each record and state with mails, how many there are."""
        query = "SELECT record, state, count(*) FROM mails GROUP BY record, state"
        return await self._database.read(lambda connection: [tuple(row) for row in connection.execute(query)])

    async def begin_handling(self, mail_id: int) -> Incoming:
        """Record that the handling of a mail begins; `Incoming.tries` then includes this attempt.

        Raises:
            InputError: `mail_state`, it is done or set aside.
        """

        def work(transaction: SpoolTransaction) -> Incoming:
            mail = mail_rows.load(transaction.connection, self._folder, mail_id)
            if mail.state != "fetched":
                raise InputError(f"Mail {mail_id} has been handled.", stage="spool", cause="mail_state")
            mail_rows.update(
                transaction.connection,
                mail_id,
                transaction.now,
                state="fetched",
                reason=mail.reason,
                tries=mail.tries + 1,
            )
            return mail_rows.load(transaction.connection, self._folder, mail_id)

        return await self._run(work)

    async def mark_done(self, mail_id: int, note: str = "") -> Incoming:
        """Mark a mail as done, and remove its file; without effect on one that is done."""
        await self.mark_all_done([mail_id], note)
        return await self.mail(mail_id)

    async def mark_all_done(self, mail_ids: Collection[int], note: str = "") -> None:
        """Mark mails as done, all or none, and remove their files; without effect on those that are done."""

        def work(transaction: SpoolTransaction) -> None:
            for mail_id in mail_ids:
                mail = mail_rows.load(transaction.connection, self._folder, mail_id)
                if mail.state != "done":
                    mail_rows.update(
                        transaction.connection, mail_id, transaction.now, state="done", reason=note, tries=mail.tries
                    )
                    mail_rows.release_file(transaction, mail_id)

        await self._run(work)

    async def set_aside(self, mail_id: int, reason: str) -> Incoming:
        """Set a mail aside for a person; without effect on one that is done."""
        return await self._set_state(mail_id, "set_aside", reason, None)

    async def postpone(self, mail_id: int, until: float, why: str, *, counts: bool = True) -> Incoming:
        """Postpone the handling of a mail; without effect on one that is done.

        Args:
            mail_id: the mail's id.
            until: when it is to be handled.
            why: the reason.
            counts: whether this attempt counts; otherwise `begin_handling`'s count is undone.
        """
        return await self._set_state(mail_id, "fetched", why, until, uncounted=0 if counts else 1)

    async def retry(self, mail_id: int) -> Incoming:
        """Have a mail that was set aside handled again, at a person's request.

        Raises:
            InputError: `mail_state`, it is done, or its file was removed.
        """

        def work(transaction: SpoolTransaction) -> Incoming:
            mail = mail_rows.load(transaction.connection, self._folder, mail_id)
            if mail.state == "done" or mail.path is None:
                raise InputError(
                    f"Mail {mail_id} is not kept any more, so it cannot be handled again.",
                    stage="spool",
                    cause="mail_state",
                )
            mail_rows.update(transaction.connection, mail_id, transaction.now, state="fetched", reason="", tries=0)
            return mail_rows.load(transaction.connection, self._folder, mail_id)

        return await self._run(work)

    async def _set_state(
        self, mail_id: int, state: MailState, reason: str, due: float | None, uncounted: int = 0
    ) -> Incoming:
        def work(transaction: SpoolTransaction) -> Incoming:
            mail = mail_rows.load(transaction.connection, self._folder, mail_id)
            if mail.state != "done":
                tries = max(mail.tries - uncounted, 0)
                mail_rows.update(
                    transaction.connection, mail_id, transaction.now, state=state, reason=reason, tries=tries, due=due
                )
            return mail_rows.load(transaction.connection, self._folder, mail_id)

        return await self._run(work)

    async def _run(self, work: Callable[[SpoolTransaction], T]) -> T:
        return await anyio.to_thread.run_sync(run_transaction, self._database, self._folder, self._clock(), work)


def _delete_uids(transaction: SpoolTransaction, record: str, uids: Collection[str]) -> None:
    transaction.connection.executemany("DELETE FROM uids WHERE record = ? AND uid = ?", [(record, uid) for uid in uids])


def _check_record(record: str) -> str:
    if not _RECORD.fullmatch(record):
        raise InputError(f"{record[:80]!r} cannot name a record.", stage="spool")
    return record
