"""The ledger of fetched mail: the unique-ids of each maildrop, and the state of each mail.

A mail is safe once `Ledger.receive` has ended: its file is synced and its row is committed. Only then may it be deleted
on the server. It is handled from the spool, and only once: mails with the same digest are the same mail, even if the
server gives it another unique-id, or none.
"""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import anyio.to_thread

from mailslot.errors import InputError
from mailslot.spool.errors import SpoolError
from mailslot.spool.incoming import NewMail
from mailslot.spool.incoming_file import IncomingFile, check_room
from mailslot.spool.transaction import SpoolTransaction, run_transaction

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection
    from pathlib import Path

    from mailslot.spool.incoming import Incoming, KnownUid, MailState
    from mailslot.spool.limits import SpoolLimits
    from mailslot.spool.repositories import Mails, Repositories
    from mailslot.spool.storage import Storage

T = TypeVar("T")

_RECORD: Final = re.compile(r"(?:account\.)?[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_DAY: Final = 86_400.0


class Ledger:
    """The mail of all records. Every method may raise `mailslot.spool.errors.SpoolError`.

    Args:
        storage: the spool's storage.
        limits: how much it holds.
        clock: the time in seconds since 1970.
    """

    def __init__(self, storage: Storage, limits: SpoolLimits, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._limits = limits
        self._clock = clock

    # For the poller

    def polling_lock(self, record: str, *, timeout: float = 0.0) -> AbstractAsyncContextManager[None]:
        """Return the lock for polling a record, as an asynchronous context manager.

        Args:
            record: the record.
            timeout: seconds to wait for the lock; 0 to try once.

        Raises:
            SpoolError: on entering, `spool_busy`: another task or process holds it.
        """
        sentence = "Another process of mailslot is polling this mailbox."
        return self._storage.lock(polling_lock_name(record), sentence, timeout=timeout)

    async def has_polled(self, record: str) -> bool:
        """Tell whether the record was polled before."""
        return await self._storage.read(lambda repositories: repositories.mails.has_polled(record))

    async def was_lost(self) -> bool:
        """Tell whether the ledger was lost recently, so that a record may have been polled before without a trace.

        Its next poll must pass over the mail that is there, whatever the settings say: it may have been handled.
        """
        since = self._clock() - self._limits.uid_retention
        return await self._storage.read(lambda repositories: repositories.mails.was_lost_since(since))

    async def record_first_poll(self, record: str, passed_over: Collection[str] = ()) -> None:
        """Record the first poll of a record, with the unique-ids of older mail that is not to be fetched."""
        _check_record(record)
        await self._run(lambda each: each.mails.record_first_poll(record, passed_over, each.now))

    async def forget_maildrop(self, record: str) -> None:
        """Forget a record's unique-ids and its first poll, because it now has another maildrop.

        Mail that was fetched from the old one is kept, and handled.
        """
        await self._run(lambda transaction: transaction.mails.forget_maildrop(record))

    async def known_uids(self, record: str) -> dict[str, KnownUid]:
        """Return the unique-ids of a record."""
        return await self._storage.read(lambda repositories: repositories.mails.known_uids(record))

    async def known_uids_after_first_poll(self, record: str) -> dict[str, KnownUid] | None:
        """Return the unique-ids of a record; None if it was not polled before."""

        def work(repositories: Repositories) -> dict[str, KnownUid] | None:
            mails = repositories.mails
            return mails.known_uids(record) if mails.has_polled(record) else None

        return await self._storage.read(work)

    async def count_fetch(self, record: str, uid: str, *, durable: bool = True) -> int:
        """Count an attempt to fetch a mail, before RETR; return how many there were, including this one.

        Without a unique-id attempts cannot be counted, and the result is 1.

        Args:
            record: the record.
            uid: the mail's unique-id.
            durable: False not to wait for the disk: where the power fails before the mail is stored, the attempt does
                not count. So it may be False only after another mail was fetched: with each such failure fewer mails
                come before this one, and in the end it is the first.
        """
        _check_record(record)
        if not uid:
            return 1
        return await self._run(
            lambda transaction: transaction.mails.count_fetch(record, uid, transaction.now), durable=durable
        )

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
        await self._storage.read(partial(check_room, self._limits, size, self._storage))
        file = IncomingFile(self._storage, self._limits, record, uid, size, self._clock)
        try:
            yield file
            await file.commit()
        finally:
            with anyio.CancelScope(shield=True):
                await file.discard()

    async def set_aside_unfetched(self, record: str, uid: str, size: int, reason: str) -> Incoming:
        """Set a mail aside without fetching it, such as one that is too large; it stays on the server.

        Args:
            record: the record.
            uid: its unique-id; ``""`` if it has none.
            size: the octets that the server announced.
            reason: why, in one sentence.

        Returns:
            its entry, which has no file; if its unique-id is known already, that mail's entry, unchanged.
        """
        _check_record(record)

        def work(transaction: SpoolTransaction) -> Incoming:
            mails = transaction.mails
            if uid and (existing := mails.mail_of_uid(record, uid)) is not None:
                return mails.load(existing)
            new = NewMail(record, uid, file=None, size=size, digest="", state="set_aside", reason=reason)
            mail = mails.insert(new, transaction.now)
            mails.link_uid(record, uid, mail, size, transaction.now)
            return mails.load(mail)

        return await self._run(work)

    async def mark_deleted(self, record: str, uids: Collection[str]) -> None:
        """Record that the server was told to delete mails; the next listing shows whether it did."""
        await self._run(lambda transaction: transaction.mails.mark_deleted(record, uids))

    async def forget_unlisted(self, record: str, listed: Collection[str]) -> int:
        """Forget the unique-ids that the server no longer lists; return how many.

        One whose mail was deleted is forgotten at once, since the server may reuse it (RFC 1939 section 7). The others
        may be listed again, and are kept for a long time.

        Args:
            record: the record.
            listed: all unique-ids that the server lists now, from a complete listing.
        """
        listed_uids = set(listed)

        def find(mails: Mails, now: float) -> tuple[list[str], list[str]]:
            found = mails.listed_uids(record)
            seen = [each.uid for each in found if each.uid in listed_uids and abs(now - each.seen_at) > _DAY]
            oldest = now - self._limits.uid_retention
            left = [each for each in found if each.uid not in listed_uids]
            return seen, [each.uid for each in left if each.deleted or each.seen_at < oldest]

        def work(transaction: SpoolTransaction) -> int:
            seen, forgotten = find(transaction.mails, transaction.now)
            transaction.mails.mark_seen(record, seen, transaction.now)
            transaction.mails.delete_uids(record, forgotten)
            return len(forgotten)

        # Most polls change nothing, and looking needs no commit.
        now = self._clock()
        if not any(await self._storage.read(lambda repositories: find(repositories.mails, now))):
            return 0
        return await self._run(work)

    async def forget_uids(self, record: str, uids: Collection[str]) -> None:
        """Forget unique-ids that the server has reused for other mails; the mails fetched by them are kept."""
        await self._run(lambda transaction: transaction.mails.delete_uids(record, uids))

    # Handling

    async def waiting(self, record: str, now: float | None = None, *, limit: int = 100) -> list[Incoming]:
        """Return the mails that are to be handled now, oldest first.

        Args:
            record: the record.
            now: the time in seconds since 1970; None for the clock's.
            limit: the maximum number of mails.
        """
        timestamp = self._clock() if now is None else now
        return await self._storage.read(lambda repositories: repositories.mails.waiting(record, timestamp, limit))

    async def mail(self, mail_id: int) -> Incoming:
        """Return a mail.

        Raises:
            InputError: `unknown_mail`, there is none.
        """
        return await self._storage.read(lambda repositories: repositories.mails.load(mail_id))

    async def mails(
        self, record: str | None = None, *, states: Collection[MailState] | None = None, limit: int = 100
    ) -> list[Incoming]:
        """Return the newest mails, newest first.

        Args:
            record: only mails of this record; None for all.
            states: only mails in these states; None for all.
            limit: the maximum number of mails.
        """
        return await self._storage.read(lambda repositories: repositories.mails.newest(record, states, limit))

    async def count_by_record(self) -> list[tuple[str, MailState, int]]:
        """Return, for each record and state with mails, how many there are."""
        return await self._storage.read(lambda repositories: repositories.mails.count_by_record())

    async def head(self, mail: Incoming, most: int) -> bytes:
        """Return the first octets of a mail, at most `most`; none if it has no file any more, or it cannot be read."""
        if mail.path is None:
            return b""
        name = mail.path.name
        try:
            async with aclosing(self._storage.stream(lambda _: (name, 0), min(mail.size, most))) as pieces:
                return b"".join([piece async for piece in pieces])
        except SpoolError:
            # As a rule, it was handled a moment ago.
            return b""

    @asynccontextmanager
    async def local_file(self, mail: Incoming) -> AsyncGenerator[Path | None]:
        """Provide the file of a mail at its `path` while the block runs, and yield that; None if it has none.

        In a folder, the file is there anyway. Pipelines need not call this: for them the file is there already.
        """
        if mail.path is None:
            yield None
            return
        async with self._storage.local_file(mail.path.name) as path:
            yield path

    async def begin_handling(self, mail_id: int, *, durable: bool = True) -> Incoming:
        """Record that the handling of a mail begins; `Incoming.tries` then includes this attempt.

        Args:
            mail_id: the mail's id.
            durable: False not to wait for the disk: where the power fails before anything else is written, the attempt
                does not count. So it may be False only after another mail that will never be handled again: with each
                such failure fewer mails come before this one, and in the end it is the first.

        Raises:
            InputError: `mail_state`, it is done or set aside.
        """

        def work(transaction: SpoolTransaction) -> Incoming:
            mail = transaction.mails.load(mail_id)
            if mail.state != "fetched":
                raise InputError(f"Mail {mail_id} has been handled.", stage="spool", cause="mail_state")
            transaction.mails.update(
                mail_id,
                transaction.now,
                state="fetched",
                reason=mail.reason,
                tries=mail.tries + 1,
            )
            return transaction.mails.load(mail_id)

        return await self._run(work, durable=durable)

    async def mark_done(self, mail_id: int, note: str = "") -> Incoming:
        """Mark a mail as done, and remove its file; without effect on one that is done."""

        def work(transaction: SpoolTransaction) -> Incoming:
            _mark_done(transaction, mail_id, note)
            return transaction.mails.load(mail_id)

        return await self._run(work)

    async def mark_all_done(self, mail_ids: Collection[int], note: str = "") -> None:
        """Mark mails as done, all or none, and remove their files; without effect on those that are done."""

        def work(transaction: SpoolTransaction) -> None:
            for mail_id in mail_ids:
                _mark_done(transaction, mail_id, note)

        await self._run(work)

    async def set_aside(self, mail_id: int, reason: str) -> Incoming:
        """Set a mail aside for a person; without effect on one that is done."""
        return await self._set_state(mail_id, "set_aside", reason, None)

    async def postpone(self, mail_id: int, until: float, why: str, *, counts: bool = True) -> Incoming:
        """Postpone the handling of a mail; without effect on one that is done.

        Args:
            mail_id: the mail's id.
            until: when it is to be handled, in seconds since 1970.
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
            mail = transaction.mails.load(mail_id)
            if mail.state == "done" or mail.path is None:
                raise InputError(
                    f"Mail {mail_id} is not kept any more, so it cannot be handled again.",
                    stage="spool",
                    cause="mail_state",
                )
            transaction.mails.update(mail_id, transaction.now, state="fetched", reason="", tries=0)
            return transaction.mails.load(mail_id)

        return await self._run(work)

    async def _set_state(
        self, mail_id: int, state: MailState, reason: str, due: float | None, uncounted: int = 0
    ) -> Incoming:
        def work(transaction: SpoolTransaction) -> Incoming:
            mail = transaction.mails.load(mail_id)
            if mail.state != "done":
                tries = max(mail.tries - uncounted, 0)
                transaction.mails.update(mail_id, transaction.now, state=state, reason=reason, tries=tries, due=due)
            return transaction.mails.load(mail_id)

        return await self._run(work)

    async def _run(self, work: Callable[[SpoolTransaction], T], *, durable: bool = True) -> T:
        run = partial(run_transaction, self._storage, self._clock(), work, durable=durable)
        return await anyio.to_thread.run_sync(run)


def _mark_done(transaction: SpoolTransaction, mail_id: int, note: str) -> None:
    mail = transaction.mails.load(mail_id)
    if mail.state != "done":
        transaction.mails.update(mail_id, transaction.now, state="done", reason=note, tries=mail.tries)
        transaction.release_mail(mail_id)


def polling_lock_name(record: str) -> str:
    """Return the name of the lock for polling a record."""
    return f"polling-{_check_record(record)}"


def _check_record(record: str) -> str:
    if not _RECORD.fullmatch(record):
        raise InputError(f"{record[:80]!r} cannot name a record.", stage="spool")
    return record
