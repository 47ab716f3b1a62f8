"""IMAP sessions with one folder: its listing, mails as streams, and their deletion or move."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import ClosedError, DeletionsRefusedError, InputError, MailError, NetworkError, RefusedError
from mailslot.pop3.listing import Entry
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot.wire.reply import Reply
from mailslot_imap.commands import PendingCommand
from mailslot_imap.folder_name import encode_folder_name
from mailslot_imap.responses import parse_exists, parse_uid_and_size, parse_uid_validity
from mailslot_imap.retrieval import FetchCommand, Retrieval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mailslot_imap.client import Client
    from mailslot_imap.dialogue import ImapDialogue
    from mailslot_imap.settings import Options

MAX_LISTED: Final = 200_000
"""Mails of a folder that are listed."""

MAX_TOP: Final = 65_536
"""Octets of a header that are asked for."""

_MAX_UIDS: Final = 500
"""UIDs in one command: with ten digits each, it stays within the 8,192 octets of RFC 7162 section 4."""

_LOGOUT_TIMEOUT: Final = 5.0
"""Seconds to wait for the response to LOGOUT, which does not matter."""


class ImapSession:
    """A session with a folder; see `mailslot.slots.maildrop.MaildropSession`.

    Several tasks may use it; they take turns.
    """

    login_delay: float = 0.0

    def __init__(self, dialogue: ImapDialogue, options: Options, *, deletes: bool) -> None:
        """Take over a dialogue.

        Args:
            dialogue: the dialogue, authenticated if there are credentials.
            options: the options of the maildrop.
            deletes: whether mails are to be removed from the folder.
        """
        self._dialogue = dialogue
        self._options = options
        self._read_write = deletes or options.mark_seen
        self._validity = ""
        self._exists = 0
        self._uids: dict[int, int] = {}
        self._reader: Retrieval | None = None
        self._retrieved: list[Entry] = []
        self._marked: dict[int, Entry] = {}

    async def select(self) -> None:
        """Open the folder, read-only if nothing is to be changed in it.

        Raises:
            MailError: the server refused, or the session broke.
        """
        async with self._dialogue.exclusive_use("transaction"):
            folder = self._options.folder
            command = self._dialogue.new_command(
                "SELECT" if self._read_write else "EXAMINE", encode_folder_name(folder)
            )
            await self._dialogue.execute(command, f"does not open the folder {folder}")
            self._dialogue.client.mark_selected()
            self._validity = parse_uid_validity(command.responses)
            found = [number for line in command.responses if (number := parse_exists(line)) is not None]
            if not found:
                raise RemoteProtocolError("an answer to SELECT without EXISTS")
            self._exists = found[-1]

    async def stat(self) -> tuple[int, None]:
        """Return the number of mails; the total size is unknown without a listing."""
        return self._exists, None

    async def listing(self) -> list[Entry]:
        """Return the mails in the folder, in the order of arrival; the unique-id is UIDVALIDITY and UID.

        The numbers are our own, since the server's may change during the listing if another client deletes mail.

        Raises:
            MailError: the server refused, or the session broke.
        """
        async with self._dialogue.exclusive_use("transaction"):
            self._set_reader(None)
            sizes: dict[int, int] = {}
            if self._exists:
                command = _ListingCommand(self._dialogue.client)
                await self._dialogue.send_command(command)
                reply = await self._dialogue.read_tagged_response(command, whole=False)
                # Mail that another client has just expunged may be missing (RFC 5530).
                if not reply.positive and reply.enhanced != "EXPUNGEISSUED":
                    raise self._dialogue.refusal(reply, "does not list its mails")
                sizes = command.sizes
        self._uids = dict(enumerate(sorted(sizes), 1))
        validity = self._validity
        return [
            Entry(number, f"{validity}.{uid}" if validity else "", sizes[uid]) for number, uid in self._uids.items()
        ]

    def retrieve(self, entry: Entry) -> Retrieval:
        """Return a mail, to be read with ``async for``; it is requested when it is first read.

        Args:
            entry: the mail, from `listing`.
        """
        return self._retrieve_part(entry, "BODY.PEEK[]", self._retrieved.append)

    def top(self, entry: Entry) -> Retrieval:
        """Return the header of a mail, at most `MAX_TOP` octets, to be read with ``async for``."""
        return self._retrieve_part(entry, f"BODY.PEEK[HEADER]<0.{MAX_TOP}>", lambda _: None)

    def _retrieve_part(self, entry: Entry, part: str, finished: Callable[[Entry], None]) -> Retrieval:
        uid = self._uid(entry)
        return Retrieval(
            self._dialogue, entry, lambda: FetchCommand(self._dialogue.client, uid, part), self._set_reader, finished
        )

    async def delete(self, *entries: Entry) -> None:
        """Mark mails to be removed from the folder: moved if ``move_to`` is set, else deleted.

        Raises:
            DeletionsRefusedError: the server cannot do that for single mails.
        """
        needed = "MOVE" if self._options.move_to else "UIDPLUS"
        if entries and needed not in self._dialogue.capabilities:
            action = f"{'move' if self._options.move_to else 'delete'} single mails"
            reply = Reply(None, None, f"it does not offer {needed}", positive=False)
            refused = RefusedError(
                f"The mail server {self._dialogue.channel.endpoint.host} cannot {action}: it does not offer {needed}.",
                stage="transaction",
                cause="unknown",
                reply=reply,
            )
            raise DeletionsRefusedError(refused, {entry.number: reply for entry in entries})
        self._marked |= {self._uid(entry): entry for entry in entries}

    async def quit(self) -> None:
        """Mark, move or delete the mails, send LOGOUT, and close.

        Raises:
            MailError: that failed, or its result is unknown; stage `quit`.
        """
        due = bool(self._marked) or (self._options.mark_seen and bool(self._retrieved))
        try:
            if due and self._dialogue.closed:
                raise _not_done_error("The session was closed before mails could be marked, moved or deleted.")
            async with self._dialogue.exclusive_use("quit"):
                self._set_reader(None)
                await self._commit()
            await self._logout()
        except MailError:
            if due:
                raise
        finally:
            await self._dialogue.abort()

    async def abort(self) -> None:
        """Close without LOGOUT: nothing is changed on the server."""
        await self._dialogue.abort()

    async def _commit(self) -> None:
        if self._options.mark_seen:
            for uids in _uid_sets(self._uid(entry) for entry in self._retrieved):
                await self._dialogue.execute(self._store_command(uids, "\\Seen"))
        for uids in _uid_sets(self._marked):
            if self._options.move_to:
                folder = self._options.move_to
                command = self._dialogue.new_command("MOVE", uids, encode_folder_name(folder), prefix="UID")
                await self._dialogue.execute(command, f"does not move mails to the folder {folder}")
            else:
                await self._dialogue.execute(self._store_command(uids, "\\Deleted"))
                # Not plain EXPUNGE, which would also remove mail that other clients have marked (RFC 9051 section
                # 6.4.9).
                await self._dialogue.execute(self._dialogue.new_command("EXPUNGE", uids, prefix="UID"))

    def _store_command(self, uids: str, flag: str) -> PendingCommand:
        return self._dialogue.new_command("STORE", uids, f"+FLAGS.SILENT ({flag})", prefix="UID", untagged="FETCH")

    async def _logout(self) -> None:
        with anyio.move_on_after(_LOGOUT_TIMEOUT), suppress(MailError):
            async with self._dialogue.exclusive_use("quit"):
                command = self._dialogue.new_command("LOGOUT")
                await self._dialogue.send_command(command)
                await self._dialogue.read_tagged_response(command)

    def _set_reader(self, retrieval: Retrieval | None) -> None:
        """Set the current reader.

        Raises:
            ClosedError: another one was not read to its end; the session is closed.
        """
        previous, self._reader = self._reader, retrieval
        if previous is not None and previous is not retrieval and not previous.complete:
            raise ClosedError(
                "A mail was left before it was complete; the session was ended.",
                stage="transaction",
                cause="connection_lost",
            )

    def _uid(self, entry: Entry) -> int:
        try:
            return self._uids[entry.number]
        except KeyError:
            raise InputError(f"There is no mail {entry.number} in the listing.", stage="transaction") from None


class _ListingCommand(PendingCommand):
    """The listing of a folder, of which only UIDs and sizes are kept.

    Attributes:
        sizes: the sizes in octets, by UID.
    """

    max_lines = MAX_LISTED

    def __init__(self, client: Client) -> None:
        # By UID, since servers refuse a set of message numbers if another client has emptied the folder meanwhile.
        super().__init__(client, "FETCH", "1:*", "(UID RFC822.SIZE)", prefix="UID", untagged="FETCH")
        self.sizes: dict[int, int] = {}

    def receive_line(self, line: bytes) -> None:
        """Process a line; other responses are ignored."""
        if (entry := parse_uid_and_size(line)) is not None:
            uid, size = entry
            self.sizes[uid] = size


def _uid_sets(uids: Iterable[int]) -> Iterator[str]:
    """Yield sets of UIDs, each short enough for a command."""
    found = sorted(uids)
    for start in range(0, len(found), _MAX_UIDS):
        yield ",".join(map(str, found[start : start + _MAX_UIDS]))


def _not_done_error(sentence: str) -> NetworkError:
    return NetworkError(sentence, stage="quit", cause="connection_lost", retryable=True)
