"""A signed-in POP3 session: what lies in the maildrop, its messages as streams, and their deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from mailslot.errors import ClosedError, DeletionsRefusedError, InputError, MailError, NetworkError
from mailslot.pop3.limits import MAX_DIGITS
from mailslot.pop3.listing import Entry, parse_line, parse_listing
from mailslot.pop3.retrieval import Fetch, Retrieval, SingleRetrieval
from mailslot.wire.protocol_error import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailslot.pop3.capabilities import Capabilities
    from mailslot.pop3.dialogue import Pop3Dialogue
    from mailslot.wire.reply import Reply


class Pop3Session:
    """A session with a maildrop, as `mailslot.connect_pop3` gives it.

    It can be used by several tasks; they take turns. After a refusal it stays usable; after anything else, a
    cancellation included, it is closed. Nothing is deleted before the context is left normally.
    """

    def __init__(self, dialogue: Pop3Dialogue, *, ask_again: bool) -> None:
        """Take over a dialogue.

        Args:
            dialogue: signed in, or not where nobody wants to.
            ask_again: whether CAPA is due again, since what a server offers may differ by user
                (RFC 2449 section 5).
        """
        self._dialogue = dialogue
        self._protocol = dialogue.protocol
        self._ask_again = ask_again
        self._deleted = 0

    @property
    def capabilities(self) -> Capabilities:
        """What the server offers, as it said last; empty where it refuses CAPA."""
        return self._protocol.capabilities

    @property
    def usable(self) -> bool:
        """Whether the session can go on."""
        return self._dialogue.alive

    @property
    def login_delay(self) -> float:
        """Seconds that the server wants between two sign-ins (RFC 2449 section 6.6); 0.0 where it does not say."""
        return float(self.capabilities.login_delay or 0)

    async def stat(self) -> tuple[int, int]:
        """Return how many messages there are, and how many octets.

        Raises:
            MailError: the server refused, or the session broke.
        """
        async with self._dialogue.exclusive_use("transaction"):
            await self._dialogue.read_by(None)
            reply = await self._dialogue.ask(self._protocol.stat())
            if not reply.positive:
                raise self._dialogue.refusal(reply)
            words = [*reply.text.split(" "), "", ""]
            if not all(word.isascii() and word.isdigit() and len(word) <= MAX_DIGITS for word in words[:2]):
                raise RemoteProtocolError(f"not an answer to STAT: {reply.text[:40]!a}")
            return int(words[0]), int(words[1])

    async def listing(self) -> list[Entry]:
        """Return what lies in the maildrop, in the order of the numbers.

        Raises:
            MailError: the server refused, or the session broke.
        """
        async with self._dialogue.exclusive_use("transaction"):
            await self._dialogue.read_by(None)
            ask_again, self._ask_again = self._ask_again and len(self.capabilities) > 0, False
            if "PIPELINING" in self.capabilities:
                capa = self._protocol.capa() if ask_again else b""
                with anyio.fail_after(self._dialogue.timeout):
                    await self._dialogue.say(capa + self._protocol.list() + self._protocol.uidl())
                if capa:
                    await self._dialogue.learn()
                sizes, refused = await self._answer()
                uids, without = await self._answer()
            else:
                if ask_again:
                    await self._dialogue.capabilities()
                sizes, refused = await self._listed(self._protocol.list())
                uids, without = ([], None) if refused else await self._listed(self._protocol.uidl())
            if refused is None and without is not None and without.enhanced:
                # A server that does not know UIDL says so without a code; this one knows and cannot now, and
                # messages without their unique-ids would be taken for new ones.
                refused = without
            if refused is not None:
                raise self._dialogue.refusal(refused)
            return parse_listing(sizes, uids)

    async def _listed(self, command: bytes) -> tuple[list[str], Reply | None]:
        with anyio.fail_after(self._dialogue.timeout):
            await self._dialogue.say(command)
        return await self._answer()

    async def _answer(self) -> tuple[list[str], Reply | None]:
        """Return the lines of a listing, or the reply that refuses it."""
        reply = await self._dialogue.status()
        return (await self._dialogue.lines(parse_line), None) if reply.positive else ([], reply)

    def retrieve(self, entry: Entry) -> Retrieval:
        """Return a message, to be read with ``async for``; it is asked for when it is first read.

        Args:
            entry: which message, as `listing` gave it.
        """
        return SingleRetrieval(self._fetch([entry]), entry)

    def retrieve_many(self, entries: Iterable[Entry]) -> Fetch:
        """Return messages one after the other, to be read with ``async for``, each a `Retrieval`.

        Where the server offers PIPELINING, those that follow are asked for while the first ones arrive.

        Args:
            entries: which messages, as `listing` gave them.
        """
        return self._fetch(entries)

    def _fetch(self, entries: Iterable[Entry]) -> Fetch:
        return Fetch(self._dialogue, entries, lambda entry: self._protocol.retr(entry.number))

    def top(self, entry: Entry, lines: int = 0) -> Retrieval:
        """Return a message's header and the first lines of its body, to be read with ``async for``.

        Args:
            entry: which message.
            lines: how many lines of the body.
        """
        if lines < 0:
            raise InputError("The number of lines cannot be negative.", stage="transaction")
        top = Fetch(
            self._dialogue, [Entry(entry.number, entry.uid, 0)], lambda _: self._protocol.top(entry.number, lines)
        )
        return SingleRetrieval(top, entry)

    async def delete(self, *entries: Entry) -> None:
        """Mark messages as deleted; leaving the session normally makes it so (RFC 1939 section 6).

        Args:
            entries: which messages; the commands go out together where the server offers PIPELINING.

        Raises:
            DeletionsRefusedError: the server refused some, the first of which is named; the others are marked.
            MailError: the session broke; nothing is deleted.
        """
        async with self._dialogue.exclusive_use("transaction"):
            await self._dialogue.read_by(None)
            at_once = 100 if "PIPELINING" in self.capabilities else 1
            refused: dict[int, Reply] = {}
            for start in range(0, len(entries), at_once):
                refused |= await self._mark(entries[start : start + at_once])
            if refused:
                number, reply = next(iter(refused.items()))
                first = self._dialogue.refusal(reply, f"does not delete message {number}")
                raise DeletionsRefusedError(first, refused)

    async def _mark(self, entries: Sequence[Entry]) -> dict[int, Reply]:
        """Mark messages in one group; return what the server said of those that it does not mark."""
        refused: dict[int, Reply] = {}
        with anyio.fail_after(self._dialogue.timeout):
            await self._dialogue.say(b"".join(self._protocol.dele(entry.number) for entry in entries))
        for entry in entries:
            reply = await self._dialogue.status()
            if reply.positive:
                self._deleted += 1
            else:
                refused[entry.number] = reply
        return refused

    async def noop(self) -> None:
        """Ask the server whether it is still there.

        Raises:
            MailError: it is not.
        """
        async with self._dialogue.exclusive_use("transaction"):
            await self._dialogue.read_by(None)
            reply = await self._dialogue.ask(self._protocol.noop())
            if not reply.positive:
                raise self._dialogue.refusal(reply)

    async def leave(self) -> None:
        """Say QUIT, wait for the answer, and close.

        Raises:
            MailError: messages were marked as deleted, and the server did not confirm that they are; some of
                them may be. Stage `quit`.
        """
        if self._dialogue.closed:
            if self._deleted:
                raise _not_deleted("The session was closed before messages could be deleted; they are still there.")
            return
        try:
            async with self._dialogue.exclusive_use("quit"):
                await self._dialogue.read_by(None)
                self._dialogue.stage = "quit"
                reply = await self._dialogue.ask(self._protocol.quit())
                if not reply.positive:
                    raise self._dialogue.refusal(reply)
        except ClosedError as error:
            if self._deleted:
                raise _not_deleted(str(error)) from error
        except MailError:
            if self._deleted:
                raise
        finally:
            await self._dialogue.abort()

    async def abort(self) -> None:
        """Close without QUIT: nothing is deleted (RFC 1939 section 6)."""
        await self._dialogue.abort()


def _not_deleted(sentence: str) -> NetworkError:
    return NetworkError(sentence, stage="quit", cause="connection_lost", retryable=True)
