"""The ledger of fetched mail: what each maildrop's unique-ids stand for, and what became of each mail.

A mail is safe once `Ledger.receive` has ended: its octets are flushed to the disk and its row is there. Only then may
the server be told to delete it. It is then handled from here, and handled once: neither another unique-id for the
same mail, nor a server that numbers its mails anew, nor one without unique-ids makes a second mail of it, because the
same digest is the same mail.
"""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import anyio.to_thread

from mailslot.errors import InputError
from mailslot.spool import mail_rows as rows
from mailslot.spool.locks import exclusive
from mailslot.spool.receiving import IncomingFile, check_room
from mailslot.spool.transaction import Transaction, run_transaction

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection
    from pathlib import Path

    from mailslot.spool.database import Database
    from mailslot.spool.incoming import Incoming, Known, MailState
    from mailslot.spool.limits import Limits

T = TypeVar("T")

_RECORD: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_DAY: Final = 86_400.0


class Ledger:
    """The mail of all records. Every method may raise `mailslot.spool.errors.SpoolError`.

    Args:
        database: the spool's database.
        folder: its folder.
        limits: how much it holds.
        clock: the time in seconds since 1970.
    """

    def __init__(self, database: Database, folder: Path, limits: Limits, clock: Callable[[], float]) -> None:
        self._database = database
        self._folder = folder
        self._limits = limits
        self._clock = clock

    # What the poller asks

    def polling(self, record: str, *, timeout: float = 0.0) -> AbstractAsyncContextManager[None]:
        """Be the one who polls a record while the block runs; raises `spool_busy` where another does."""
        sentence = "Another process of mailslot is polling this mailbox."
        return exclusive(self._folder / f"polling-{_checked(record)}.lock", sentence, timeout=timeout)

    async def begun(self, record: str) -> bool:
        """Tell whether the record's first poll has been."""
        query = "SELECT 1 FROM maildrops WHERE record = ?"
        return await self._database.read(lambda c: c.execute(query, (record,)).fetchone() is not None)

    async def lost(self) -> bool:
        """Tell whether the ledger was lost lately: a record without a first poll may then have had one.

        Such a poll must pass over what is there, whatever the settings say: it may have been handled.
        """
        since = self._clock() - self._limits.uids
        query = "SELECT 1 FROM losses WHERE at > ?"
        return await self._database.read(lambda c: c.execute(query, (since,)).fetchone() is not None)

    async def begin(self, record: str, passed_over: Collection[str] = ()) -> None:
        """Note a record's first poll, and the unique-ids that were there before it and are not to be fetched."""
        _checked(record)

        def work(transaction: Transaction) -> None:
            transaction.connection.execute("INSERT OR IGNORE INTO maildrops VALUES (?, ?)", (record, transaction.now))
            transaction.connection.executemany(
                "INSERT OR IGNORE INTO uids (record, uid, passed_over, tries, deleted, seen_at) "
                "VALUES (?, ?, 1, 0, 0, ?)",
                [(record, uid, transaction.now) for uid in passed_over if uid],
            )

        await self._run(work)

    async def leave(self, record: str) -> None:
        """Forget a record's unique-ids and its first poll, since its maildrop is another one from now on.

        The mail that was fetched from the old one stays, and is handled.
        """

        def work(transaction: Transaction) -> None:
            transaction.connection.execute("DELETE FROM uids WHERE record = ?", (record,))
            transaction.connection.execute("DELETE FROM maildrops WHERE record = ?", (record,))

        await self._run(work)

    async def known(self, record: str) -> dict[str, Known]:
        """Return what is known of each unique-id of a record."""
        return await self._database.read(lambda connection: rows.known(connection, record))

    async def fetching(self, record: str, uid: str) -> int:
        """Note, before RETR, that a mail is about to be fetched; return how often that has been, this time too.

        Without a unique-id there is nothing to count by: always 1.
        """
        _checked(record)
        if not uid:
            return 1

        def work(transaction: Transaction) -> int:
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

        When the block ends, the mail is on the disk and in the ledger, and `IncomingFile.mail` is it; when the block
        raises or is cancelled, nothing is left of it.

        Args:
            record: the record that it came through.
            uid: its unique-id; ``""`` where it has none.
            size: the octets that the server announced, so that a full disk is noticed before; 0 where unknown.

        Raises:
            SpoolError: `spool_full`, with the numbers, before or in the block.
        """
        _checked(record)
        await self._database.read(partial(check_room, self._folder, self._limits, size))
        receiving = IncomingFile(self._database, self._folder, self._limits, record, uid, size, self._clock)
        try:
            yield receiving
            await receiving.keep()
        finally:
            with anyio.CancelScope(shield=True):
                await receiving.discard()

    async def refuse(self, record: str, uid: str, size: int, reason: str) -> Incoming:
        """Set a mail aside without having fetched it, such as one that is too large; it stays on the server."""
        _checked(record)

        def work(transaction: Transaction) -> Incoming:
            connection = transaction.connection
            if uid and (there := rows.linked(connection, record, uid)) is not None:
                return rows.load(connection, self._folder, there)
            mail = rows.insert(
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
            rows.link(connection, record, uid, mail, size, transaction.now)
            return rows.load(connection, self._folder, mail)

        return await self._run(work)

    async def mark_deleted(self, record: str, uids: Collection[str]) -> None:
        """Note that the server was told to delete mails; whether it did shows in the next listing."""

        def work(transaction: Transaction) -> None:
            transaction.connection.executemany(
                "UPDATE uids SET deleted = 1 WHERE record = ? AND uid = ?", [(record, uid) for uid in uids]
            )

        await self._run(work)

    async def forget(self, record: str, listed: Collection[str]) -> int:
        """Forget the unique-ids that the server does not list any more; return how many.

        One whose mail was deleted is forgotten at once: only as long as a mail exists, no other one gets its
        unique-id (RFC 1939 section 7). The others may be listed again, and are kept for a long time.

        Args:
            record: the record.
            listed: all that the server lists now; a listing that broke off must not be given.
        """
        there = set(listed)

        def work(transaction: Transaction) -> int:
            query = "SELECT uid, seen_at, deleted FROM uids WHERE record = ?"
            found = transaction.connection.execute(query, (record,)).fetchall()
            seen = [row["uid"] for row in found if row["uid"] in there and abs(transaction.now - row["seen_at"]) > _DAY]
            transaction.connection.executemany(
                "UPDATE uids SET seen_at = ? WHERE record = ? AND uid = ?",
                [(transaction.now, record, uid) for uid in seen],
            )
            oldest = transaction.now - self._limits.uids
            left = [row for row in found if row["uid"] not in there]
            gone = [row["uid"] for row in left if row["deleted"] or row["seen_at"] < oldest]
            _forget(transaction, record, gone)
            return len(gone)

        return await self._run(work)

    async def disown(self, record: str, uids: Collection[str]) -> None:
        """Forget unique-ids that stand for other mails by now; those that were fetched by them are still known."""
        await self._run(lambda transaction: _forget(transaction, record, uids))

    # What becomes of a mail

    async def waiting(self, record: str, now: float | None = None, *, most: int = 100) -> list[Incoming]:
        """Return the mails that are to be handled now, oldest first."""
        moment = self._clock() if now is None else now
        return await self._database.read(lambda c: rows.waiting(c, self._folder, record, moment, most))

    async def mail(self, mail_id: int) -> Incoming:
        """Return a mail.

        Raises:
            InputError: `unknown_mail`, there is none.
        """
        return await self._database.read(lambda connection: rows.load(connection, self._folder, mail_id))

    async def mails(
        self, record: str | None = None, *, states: Collection[MailState] | None = None, most: int = 100
    ) -> list[Incoming]:
        """Return the newest mails, newest first."""
        return await self._database.read(lambda c: rows.newest(c, self._folder, record, states, most))

    async def tally(self) -> list[tuple[str, MailState, int]]:
        """Return, for each record and state with mails, how many there are."""
        query = "SELECT record, state, count(*) FROM mails GROUP BY record, state"
        return await self._database.read(lambda connection: [tuple(row) for row in connection.execute(query)])

    async def take(self, mail_id: int) -> Incoming:
        """Note that the handling of a mail begins, before it does; `Incoming.tries` counts this time too.

        Raises:
            InputError: `mail_state`, it is not to be handled any more.
        """

        def work(transaction: Transaction) -> Incoming:
            mail = rows.load(transaction.connection, self._folder, mail_id)
            if mail.state != "fetched":
                raise InputError(f"Mail {mail_id} has been handled.", stage="spool", cause="mail_state")
            rows.update(
                transaction.connection,
                mail_id,
                transaction.now,
                state="fetched",
                reason=mail.reason,
                tries=mail.tries + 1,
            )
            return rows.load(transaction.connection, self._folder, mail_id)

        return await self._run(work)

    async def done(self, mail_id: int, note: str = "") -> Incoming:
        """Note that a mail has been handled, for good; its file goes. Again changes nothing."""

        def work(transaction: Transaction) -> Incoming:
            mail = rows.load(transaction.connection, self._folder, mail_id)
            if mail.state != "done":
                rows.update(
                    transaction.connection, mail_id, transaction.now, state="done", reason=note, tries=mail.tries
                )
                rows.give_up_file(transaction, mail_id)
            return rows.load(transaction.connection, self._folder, mail_id)

        return await self._run(work)

    async def set_aside(self, mail_id: int, reason: str) -> Incoming:
        """Keep a mail for a person; the others go on. One that is done stays done."""
        return await self._note(mail_id, "set_aside", reason, None)

    async def later(self, mail_id: int, until: float, why: str, *, counts: bool = True) -> Incoming:
        """Have a mail handled later. One that is done stays done.

        Args:
            mail_id: the mail.
            until: when.
            why: why not now.
            counts: whether this was a try; else what `take` has counted is taken back.
        """
        return await self._note(mail_id, "fetched", why, until, back=0 if counts else 1)

    async def retry(self, mail_id: int) -> Incoming:
        """Have a mail that was set aside handled again, as a person asks.

        Raises:
            InputError: `mail_state`, it is done, or its file is not kept any more.
        """

        def work(transaction: Transaction) -> Incoming:
            mail = rows.load(transaction.connection, self._folder, mail_id)
            if mail.state == "done" or mail.path is None:
                raise InputError(
                    f"Mail {mail_id} is not kept any more, so it cannot be handled again.",
                    stage="spool",
                    cause="mail_state",
                )
            rows.update(transaction.connection, mail_id, transaction.now, state="fetched", reason="", tries=0)
            return rows.load(transaction.connection, self._folder, mail_id)

        return await self._run(work)

    async def _note(self, mail_id: int, state: MailState, reason: str, due: float | None, back: int = 0) -> Incoming:
        def work(transaction: Transaction) -> Incoming:
            mail = rows.load(transaction.connection, self._folder, mail_id)
            if mail.state != "done":
                tries = max(mail.tries - back, 0)
                rows.update(
                    transaction.connection, mail_id, transaction.now, state=state, reason=reason, tries=tries, due=due
                )
            return rows.load(transaction.connection, self._folder, mail_id)

        return await self._run(work)

    async def _run(self, work: Callable[[Transaction], T]) -> T:
        return await anyio.to_thread.run_sync(run_transaction, self._database, self._folder, self._clock(), work)


def _forget(transaction: Transaction, record: str, uids: Collection[str]) -> None:
    transaction.connection.executemany("DELETE FROM uids WHERE record = ? AND uid = ?", [(record, uid) for uid in uids])


def _checked(record: str) -> str:
    if not _RECORD.fullmatch(record):
        raise InputError(f"{record[:80]!r} cannot name a record.", stage="spool")
    return record
