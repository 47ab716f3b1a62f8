"""Writing a fetched mail to the disk."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from mailslot.spool.errors import full_error
from mailslot.spool.incoming import NewMail
from mailslot.spool.limits import format_size
from mailslot.spool.mail_digest import MailDigest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.spool.incoming import Incoming
    from mailslot.spool.limits import SpoolLimits
    from mailslot.spool.repositories import Repositories
    from mailslot.spool.storage import Storage

_PIECE_SIZE: Final = 262_144


class IncomingFile:
    """The file of a mail that is being fetched; see `mailslot.spool.ledger.Ledger.receive`.

    Attributes:
        mail: the mail, once it is committed.
        duplicate: whether the mail had been fetched before, so that it need not be handled.
    """

    def __init__(
        self,
        storage: Storage,
        limits: SpoolLimits,
        record: str,
        uid: str,
        announced: int,
        clock: Callable[[], float],
    ) -> None:
        self.mail: Incoming | None = None
        self.duplicate = False
        self._storage = storage
        self._limits = limits
        self._record = record
        self._uid = uid
        self._announced = announced
        self._clock = clock
        self._file = storage.new_file(f".{record}.mail")
        self._digest = MailDigest()
        self._pending: list[bytes] = []
        self._size = 0

    async def write(self, data: bytes) -> None:
        """Append octets.

        Raises:
            SpoolError: they cannot be written, or the mail is too large.
        """
        self._pending.append(data)
        self._size += len(data)
        if self._size > self._limits.max_message_size:
            raise full_error(
                f"The mail has more than {format_size(self._limits.max_message_size)}, and no larger one is kept."
            )
        if self._size - self._file.size >= _PIECE_SIZE:
            await anyio.to_thread.run_sync(self._write)

    async def commit(self) -> None:
        """Sync the file and add the mail to the ledger.

        Raises:
            SpoolError: this fails; the file is removed.
        """
        await anyio.to_thread.run_sync(self._commit)

    async def discard(self) -> None:
        """Remove the file unless it was committed."""
        if not self._file.closed:
            await anyio.to_thread.run_sync(self._file.discard)

    def _write(self) -> None:
        data = b"".join(self._pending)
        self._pending = []
        self._digest.update(data)
        self._file.write(data)

    def _commit(self) -> None:
        self._write()
        insert = partial(self._insert, self._digest.hexdigest())
        try:
            self.mail = self._storage.commit_file(self._file, b"", insert)
        except _DuplicateMailError as existing:
            self.duplicate = True
            self.mail = self._storage.write_blocking(partial(self._link, existing.mail))

    def _insert(self, digest: str, repositories: Repositories) -> Incoming:
        mails = repositories.mails
        existing = mails.mail_of_uid(self._record, self._uid) if self._uid else None
        if existing is None:
            existing = mails.find_by_digest(self._record, digest)
        if existing is not None and not mails.restore_file(existing, self._file.name, self._size, digest):
            raise _DuplicateMailError(existing)
        if existing is not None:
            return self._link(existing, repositories)
        check_room(self._limits, self._size, None, repositories)
        new = NewMail(self._record, self._uid, self._file.name, self._size, digest)
        return self._link(mails.insert(new, self._clock()), repositories)

    def _link(self, mail: int, repositories: Repositories) -> Incoming:
        repositories.mails.link_uid(self._record, self._uid, mail, self._announced, self._clock())
        return repositories.mails.load(mail)


class _DuplicateMailError(Exception):
    """The mail was fetched before."""

    def __init__(self, mail: int) -> None:
        super().__init__(mail)
        self.mail = mail


def check_room(limits: SpoolLimits, size: int, storage: Storage | None, repositories: Repositories) -> None:
    """Check that there is room for a mail; if a storage is given, also on its disk.

    Raises:
        SpoolError: `spool_full`, with the numbers.
    """
    waiting = repositories.mails.count_waiting()
    if waiting >= limits.max_mails:
        raise full_error(f"{waiting} fetched mails are waiting to be handled, and no more than {limits.max_mails} may.")
    octets = repositories.totals().octets
    most = max(limits.max_total_size - limits.job_reserve, 0)
    if octets + size > most:
        raise full_error(
            f"The messages that are kept have {format_size(octets)}; with this one of {format_size(size)} they would "
            f"have more than {format_size(most)}; further room is only for mail to be sent. "
            "The mail stays on the server."
        )
    if storage is not None:
        storage.check_free_space(size, 2 * limits.disk_reserve)
