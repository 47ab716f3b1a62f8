"""A session with one folder: what lies in it, its mails as streams, and what becomes of them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import ClosedError, DeletionsRefusedError, InputError, MailError, NetworkError, RefusedError
from mailslot.pop3.listing import Entry
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot.wire.reply import Reply
from mailslot_imap.commands import PendingCommand
from mailslot_imap.folder import on_the_wire
from mailslot_imap.responses import entry_in, exists_in, validity_in
from mailslot_imap.retrieval import Fetch, Retrieval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mailslot_imap.client import Client
    from mailslot_imap.dialogue import ImapDialogue
    from mailslot_imap.settings import Options

MAX_LISTED: Final = 200_000
"""Mails of a folder that are listed."""

MAX_TOP: Final = 65_536
"""Octets of a header that are asked for."""

_AT_ONCE: Final = 500
"""UIDs in one command: with ten digits each, it stays within the 8,192 octets of RFC 7162 section 4."""

_FAREWELL: Final = 5.0
"""Seconds to wait for the answer to LOGOUT, on which nothing depends."""


class ImapSession:
    """A session with a folder, as `mailslot.slots.maildrop.MaildropSession` says.

    It can be used by several tasks; they take turns.
    """

    login_delay: float = 0.0

    def __init__(self, dialogue: ImapDialogue, options: Options, *, deletes: bool) -> None:
        """Take over a dialogue.

        Args:
            dialogue: signed in, or not where nobody wants to.
            options: the folder, and what becomes of its mails.
            deletes: whether mails are to be taken out of the folder.
        """
        self._dialogue = dialogue
        self._options = options
        self._writes = deletes or options.mark_seen
        self._validity = ""
        self._exists = 0
        self._uids: dict[int, int] = {}
        self._reading: Retrieval | None = None
        self._whole: list[Entry] = []
        self._marked: dict[int, Entry] = {}

    async def select(self) -> None:
        """Open the folder, only to be read where nothing is to be changed in it.

        Raises:
            MailError: the server refused, or the session broke.
        """
        async with self._dialogue.exclusive_use("transaction"):
            folder = self._options.folder
            command = self._dialogue.command("SELECT" if self._writes else "EXAMINE", on_the_wire(folder))
            await self._dialogue.ask(command, f"does not open the folder {folder}")
            self._dialogue.client.selected()
            self._validity = validity_in(command.heard)
            found = [number for line in command.heard if (number := exists_in(line)) is not None]
            if not found:
                raise RemoteProtocolError("an answer to SELECT without EXISTS")
            self._exists = found[-1]

    async def stat(self) -> tuple[int, None]:
        """Return how many mails there are; how many octets, only a listing would tell."""
        return self._exists, None

    async def listing(self) -> list[Entry]:
        """Return what lies in the folder, in the order of arrival; a UID stands behind its UIDVALIDITY.

        The numbers are our own: the server's may change while it lists, where another client deletes mail.

        Raises:
            MailError: the server refused, or the session broke.
        """
        async with self._dialogue.exclusive_use("transaction"):
            self._occupy(None)
            sizes: dict[int, int] = {}
            if self._exists:
                command = _Listing(self._dialogue.client)
                await self._dialogue.begin(command)
                reply = await self._dialogue.answer(command, whole=False)
                # What another client has just expunged need not be listed (RFC 5530).
                if not reply.positive and reply.enhanced != "EXPUNGEISSUED":
                    raise self._dialogue.refusal(reply, "does not list its mails")
                sizes = command.sizes
        self._uids = dict(enumerate(sorted(sizes), 1))
        validity = self._validity
        return [
            Entry(number, f"{validity}.{uid}" if validity else "", sizes[uid]) for number, uid in self._uids.items()
        ]

    def retrieve(self, entry: Entry) -> Retrieval:
        """Return a mail, to be read with ``async for``; it is asked for when it is first read.

        Args:
            entry: which mail, as `listing` gave it.
        """
        return self._part(entry, "BODY.PEEK[]", self._whole.append)

    def top(self, entry: Entry) -> Retrieval:
        """Return a mail's header, or its first `MAX_TOP` octets, likewise."""
        return self._part(entry, f"BODY.PEEK[HEADER]<0.{MAX_TOP}>", lambda _: None)

    def _part(self, entry: Entry, part: str, finished: Callable[[Entry], None]) -> Retrieval:
        uid = self._uid(entry)
        return Retrieval(self._dialogue, entry, lambda: Fetch(self._dialogue.client, uid, part), self._occupy, finished)

    async def delete(self, *entries: Entry) -> None:
        """Mark mails to be taken out of the folder: moved where that is set, else deleted for good.

        Raises:
            DeletionsRefusedError: the server can do that to no single mail.
        """
        needed = "MOVE" if self._options.move_to else "UIDPLUS"
        if entries and needed not in self._dialogue.capabilities:
            what = f"{'move' if self._options.move_to else 'delete'} single mails"
            reply = Reply(None, None, f"it does not offer {needed}", positive=False)
            refused = RefusedError(
                f"The mail server {self._dialogue.channel.endpoint.host} cannot {what}: it does not offer {needed}.",
                stage="transaction",
                cause="unknown",
                reply=reply,
            )
            raise DeletionsRefusedError(refused, {entry.number: reply for entry in entries})
        self._marked |= {self._uid(entry): entry for entry in entries}

    async def leave(self) -> None:
        """Do to the mails what is to be done, take leave, and close.

        Raises:
            MailError: it was not done, or nobody knows; stage `quit`.
        """
        due = bool(self._marked) or (self._options.mark_seen and bool(self._whole))
        try:
            if due and self._dialogue.closed:
                raise _not_done("The session was closed before mails could be marked, moved or deleted.")
            async with self._dialogue.exclusive_use("quit"):
                self._occupy(None)
                await self._commit()
            await self._take_leave()
        except MailError:
            if due:
                raise
        finally:
            await self._dialogue.abort()

    async def abort(self) -> None:
        """Close without a word: nothing is changed on the server."""
        await self._dialogue.abort()

    async def _commit(self) -> None:
        if self._options.mark_seen:
            for uids in _sets(self._uid(entry) for entry in self._whole):
                await self._dialogue.ask(self._stored(uids, "\\Seen"))
        for uids in _sets(self._marked):
            if self._options.move_to:
                folder = self._options.move_to
                command = self._dialogue.command("MOVE", uids, on_the_wire(folder), prefix="UID")
                await self._dialogue.ask(command, f"does not move mails to the folder {folder}")
            else:
                await self._dialogue.ask(self._stored(uids, "\\Deleted"))
                # Not EXPUNGE alone: what others have marked is theirs (RFC 9051 section 6.4.9).
                await self._dialogue.ask(self._dialogue.command("EXPUNGE", uids, prefix="UID"))

    def _stored(self, uids: str, flag: str) -> PendingCommand:
        return self._dialogue.command("STORE", uids, f"+FLAGS.SILENT ({flag})", prefix="UID", untagged="FETCH")

    async def _take_leave(self) -> None:
        with anyio.move_on_after(_FAREWELL), suppress(MailError):
            async with self._dialogue.exclusive_use("quit"):
                command = self._dialogue.command("LOGOUT")
                await self._dialogue.begin(command)
                await self._dialogue.answer(command)

    def _occupy(self, retrieval: Retrieval | None) -> None:
        """Make a retrieval the one that may read; one that was left early ends the session.

        Raises:
            ClosedError: another one was.
        """
        before, self._reading = self._reading, retrieval
        if before is not None and before is not retrieval and not before.complete:
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


class _Listing(PendingCommand):
    """The listing of a folder, of which nothing but numbers is kept.

    Attributes:
        sizes: octets by UID.
    """

    most_lines = MAX_LISTED

    def __init__(self, client: Client) -> None:
        # By UIDs, since a set of numbers is refused where another client has emptied the folder meanwhile.
        super().__init__(client, "FETCH", "1:*", "(UID RFC822.SIZE)", prefix="UID", untagged="FETCH")
        self.sizes: dict[int, int] = {}

    def hear(self, line: bytes) -> None:
        """Take a line; what tells something else of a mail is passed over."""
        if (entry := entry_in(line)) is not None:
            uid, size = entry
            self.sizes[uid] = size


def _sets(uids: Iterable[int]) -> Iterator[str]:
    """Yield sets of UIDs, each short enough for a command."""
    found = sorted(uids)
    for start in range(0, len(found), _AT_ONCE):
        yield ",".join(map(str, found[start : start + _AT_ONCE]))


def _not_done(sentence: str) -> NetworkError:
    return NetworkError(sentence, stage="quit", cause="connection_lost", retryable=True)
