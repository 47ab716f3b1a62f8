"""The maildrops of devices: fetched mail that waits in the spool until a device fetches it.

A maildrop has the mail of one record: the waiting mail, and for an account also the mail that was set aside, since
nobody else would handle it. A mail that a device deletes is done, and its file is removed. Whether it stays on the
upstream server is up to the poller (`after_fetch`), which never fetches a mail twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.pop3.server.limits import MAX_MESSAGES
from mailslot.pop3.server.maildrop import Message
from mailslot.slots.slot import is_account
from mailslot.spool.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from contextlib import AbstractAsyncContextManager
    from io import FileIO
    from pathlib import Path

    from mailslot.plugin import Incoming
    from mailslot.pop3.server.backend import MessageReader
    from mailslot.spool.incoming import MailState
    from mailslot.spool.ledger import Ledger

_PIECE: Final = 65_536
"""Octets of a message that are read at once; also those of short messages that are read together."""

_TOGETHER: Final = 32
"""The maximum number of messages that are read together, since a slow disk may take a while for each."""

_UID_LENGTH: Final = 32
"""Characters of a unique-id: 128 bits of the mail's digest, which old devices can store."""


BeforeDeletion = Callable[["Incoming"], Awaitable[None]]


class Maildrops:
    """The maildrops of a home folder, each for one session at a time.

    Args:
        ledger: the mail of all records.
        before_deletion: called with each mail that a device deletes; it raises `SpoolError` to keep the mail.
    """

    def __init__(self, ledger: Ledger, before_deletion: BeforeDeletion | None = None) -> None:
        self._ledger = ledger
        self._before_deletion = before_deletion
        self._in_use: set[str] = set()

    async def open(self, record: str, device: str) -> LedgerMaildrop | None:
        """Return the maildrop of a record for one session, which must release it; None while another session has it.

        Args:
            record: the record.
            device: the name of the device, which is recorded with the mail that it deletes.

        Raises:
            SpoolError: it cannot be read.
        """
        if record in self._in_use:
            return None
        self._in_use.add(record)
        states: set[MailState] = {"fetched", "set_aside"} if is_account(record) else {"fetched"}
        try:
            mails = await self._ledger.mails(record, states=states, limit=MAX_MESSAGES)
        except BaseException:
            self._in_use.discard(record)
            raise
        return LedgerMaildrop(
            self._ledger, mails[::-1], device, lambda: self._in_use.discard(record), self._before_deletion
        )


class LedgerMaildrop:
    """A maildrop, exclusively for one session; see `mailslot.pop3.server.backend.Maildrop`.

    Attributes:
        messages: its messages, oldest first.
        retrieved: the number of messages that were read completely.
        deleted: the number of messages that were deleted.
    """

    def __init__(
        self,
        ledger: Ledger,
        mails: Sequence[Incoming],
        device: str,
        release: Callable[[], None],
        before_deletion: BeforeDeletion | None = None,
    ) -> None:
        """Take over a maildrop.

        Args:
            ledger: where its mail is.
            mails: the mail, oldest first; mails without a file are skipped.
            device: the name of the device.
            release: makes it available to other sessions.
            before_deletion: as for `Maildrops`.
        """
        self._ledger = ledger
        self._before_deletion = before_deletion
        self._mails = {mail.id: mail for mail in mails}
        self._device = device
        self._release = release
        self.messages = [Message(mail.id, unique_id(mail), mail.size) for mail in mails if mail.path is not None]
        self._places = {message.id: place for place, message in enumerate(self.messages)}
        self._next_place = 0
        self._read_together: dict[int, bytes] = {}
        self.retrieved = 0
        self.deleted = 0

    def open(self, message: Message) -> AbstractAsyncContextManager[MessageReader]:
        """Open a message.

        Devices fetch one message after the other. So short ones are read together: to wake a thread for each would take
        longer than all else.

        Raises:
            OSError: on entering, it cannot be read.
        """
        place = self._places[message.id]
        in_order, self._next_place = place == self._next_place, place + 1
        octets = self._read_together.get(message.id)
        if octets is not None:
            return WholeReader(octets)
        return self._open_file(message, self._following(place) if in_order else [])

    def _following(self, place: int) -> list[Incoming]:
        """Return the messages that are read together with the one at a place."""
        found: list[Incoming] = []
        octets = self.messages[place].size
        for message in self.messages[place + 1 : place + _TOGETHER]:
            octets += message.size
            if octets >= _PIECE:
                break
            found.append(self._mails[message.id])
        return found

    @asynccontextmanager
    async def _open_file(self, message: Message, following: Sequence[Incoming]) -> AsyncGenerator[MessageReader]:
        try:
            async with self._ledger.local_file(self._mails[message.id]) as path:
                assert path is not None  # noqa: S101 - no message without a file is listed
                file, first, others = await run_sync(_open, path, following)
                if others:
                    self._read_together = {message.id: first, **others}
                if file is None:
                    yield WholeReader(first)
                    return
                with file:
                    yield FileReader(file, first)
        except SpoolError as error:
            raise OSError(str(error)) from error

    def note_retrieved(self, message: Message) -> None:
        """Count a message that was read completely; hardly a device reads one twice, so it is not kept in memory."""
        self.retrieved += 1
        self._read_together.pop(message.id, None)

    async def delete(self, messages: Sequence[Message]) -> None:
        """Delete all of these messages, or none.

        Raises:
            OSError: nothing is deleted.
        """
        try:
            if self._before_deletion is not None:
                for mail in filter(None, (self._mails.get(message.id) for message in messages)):
                    await self._before_deletion(mail)
            await self._ledger.mark_all_done(
                [message.id for message in messages], f"The device {self._device} has fetched it."
            )
        except (SpoolError, InputError) as error:
            raise OSError(str(error)) from error
        self.deleted += len(messages)

    def release(self) -> None:
        """Make the maildrop available to other sessions."""
        self._read_together = {}
        self._release()


class WholeReader:
    """A message that was read whole, as a context manager and its reader.

    Args:
        octets: the message.
    """

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read(self) -> bytes:
        """Return the message; nothing after it."""
        octets, self._octets = self._octets, b""
        return octets


class FileReader:
    """Reads a message's file.

    Args:
        file: the open file.
        first: its first octets.
    """

    def __init__(self, file: FileIO, first: bytes) -> None:
        self._file = file
        self._first = first

    async def read(self) -> bytes:
        """Return the next octets; none at the end.

        Raises:
            OSError: they cannot be read.
        """
        first, self._first = self._first, b""
        return first or await run_sync(self._file.read, _PIECE) or b""


def unique_id(mail: Incoming) -> str:
    """Return a mail's unique-id; it stays the same after a restart, and after the ledger was rebuilt from the files."""
    return mail.digest[:_UID_LENGTH] or f"mail-{mail.id}"


def _open(path: Path, following: Sequence[Incoming]) -> tuple[FileIO | None, bytes, dict[int, bytes]]:
    """Read a message, and those that follow up to one that cannot be read; its error comes when it is opened.

    Returns:
        the file, None if its message was read whole; its first octets; those that follow, whole, by id.
    """
    file = path.open("rb", buffering=0)
    try:
        first = file.read(_PIECE) or b""
        if len(first) == _PIECE:
            return file, first, {}
    except BaseException:
        file.close()
        raise
    file.close()
    others: dict[int, bytes] = {}
    for mail in following:
        try:
            octets = b"" if mail.path is None else mail.path.read_bytes()
        except OSError:
            break
        if len(octets) != mail.size:
            break  # it comes out of a database just now
        others[mail.id] = octets
    return None, first, others
