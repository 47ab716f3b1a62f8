"""A mail on its way from the server onto the disk."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from mailslot.spool import mail_rows as rows
from mailslot.spool.digest import MailDigest
from mailslot.spool.errors import full
from mailslot.spool.files import NewFile, check_free, enter_file
from mailslot.spool.limits import megabytes
from mailslot.spool.rows import octets_kept

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.spool.database import Database
    from mailslot.spool.incoming import Incoming
    from mailslot.spool.limits import Limits

_PIECE: Final = 262_144


class IncomingFile:
    """A mail that is being written; see `mailslot.spool.ledger.Ledger.receive`.

    Attributes:
        mail: the mail, once the block has ended.
        duplicate: whether that mail had been fetched before, so that nothing new is to be handled.
    """

    def __init__(
        self,
        database: Database,
        folder: Path,
        limits: Limits,
        record: str,
        uid: str,
        announced: int,
        clock: Callable[[], float],
    ) -> None:
        self.mail: Incoming | None = None
        self.duplicate = False
        self._database = database
        self._folder = folder
        self._limits = limits
        self._record = record
        self._uid = uid
        self._announced = announced
        self._clock = clock
        self._file = NewFile(folder, f".{record}.mail")
        self._digest = MailDigest()
        self._pending: list[bytes] = []
        self._size = 0

    async def write(self, data: bytes) -> None:
        """Add octets.

        Raises:
            SpoolError: the disk does not take them, or the mail is larger than any may be.
        """
        self._pending.append(data)
        self._size += len(data)
        if self._size > self._limits.message:
            raise full(f"The mail has more than {megabytes(self._limits.message)}, and no larger one is kept.")
        if self._size - self._file.size >= _PIECE:
            await anyio.to_thread.run_sync(self._write)

    async def keep(self) -> None:
        """Put it onto the disk and into the ledger."""
        await anyio.to_thread.run_sync(self._keep)

    async def discard(self) -> None:
        """Leave nothing of it, unless it has been kept."""
        if not self._file.ended:
            await anyio.to_thread.run_sync(self._file.discard)

    def _write(self) -> None:
        data = b"".join(self._pending)
        self._pending = []
        self._digest.update(data)
        self._file.write(data)

    def _keep(self) -> None:
        self._write()
        enter = partial(self._enter, self._digest.hexdigest())
        try:
            mail = self._file.keep(b"", partial(enter_file, self._database, self._file, enter))
        except _ThereError as there:
            mail = there.mail
            self.duplicate = True
            self._database.transact(partial(self._link, mail))
        self.mail = self._database.examine(lambda connection: rows.load(connection, self._folder, mail))

    def _enter(self, digest: str, connection: sqlite3.Connection) -> int:
        there = rows.linked(connection, self._record, self._uid) if self._uid else None
        if there is None:
            there = rows.by_digest(connection, self._record, digest)
        if there is not None and not rows.restore(connection, there, self._file.name, self._size, digest):
            raise _ThereError(there)
        if there is not None:
            self._link(there, connection)
            return there
        check_room(None, self._limits, self._size, connection)
        mail = rows.insert(
            connection,
            self._record,
            self._uid,
            file=self._file.name,
            size=self._size,
            digest=digest,
            state="fetched",
            reason="",
            now=self._clock(),
        )
        self._link(mail, connection)
        return mail

    def _link(self, mail: int, connection: sqlite3.Connection) -> None:
        rows.link(connection, self._record, self._uid, mail, self._announced, self._clock())


class _ThereError(Exception):
    """It has been fetched before."""

    def __init__(self, mail: int) -> None:
        super().__init__(mail)
        self.mail = mail


def check_room(folder: Path | None, limits: Limits, size: int, connection: sqlite3.Connection) -> None:
    """See that there is room for a mail.

    Raises:
        SpoolError: `spool_full`, with the numbers.
    """
    waiting = rows.count_waiting(connection)
    if waiting >= limits.mails:
        raise full(f"{waiting} fetched mails are waiting to be handled, and no more than {limits.mails} may.")
    octets = octets_kept(connection)
    if octets + size > limits.octets:
        raise full(
            f"The messages that are kept have {megabytes(octets)}; with this one of {megabytes(size)} they would "
            f"have more than the {megabytes(limits.octets)} that are allowed."
        )
    if folder is not None:
        check_free(folder, size, limits.spare)
