"""POP3 sessions: the listing of the maildrop, messages as streams, and their deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from mailslot.errors import ClosedError, DeletionsRefusedError, InputError, MailError, NetworkError
from mailslot.pop3.limits import MAX_DIGITS
from mailslot.pop3.listing import Entry, make_entries, parse_listing_lines
from mailslot.pop3.retrieval import PipelinedRetrieval, Retrieval, SingleRetrieval
from mailslot.wire.protocol_error import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailslot.pop3.capabilities import Capabilities
    from mailslot.pop3.dialogue import Pop3Dialogue
    from mailslot.wire.reply import Reply


class Pop3Session:
    """A session with a maildrop, opened by `mailslot.connect_pop3`.

    Several tasks may use it; they take turns. It stays usable after a refusal; any other error, and a cancellation,
    closes it. Nothing is deleted before the context is left normally.
    """

    def __init__(self, dialogue: Pop3Dialogue, *, refresh_capabilities: bool) -> None:
        """Take over a dialogue.

        Args:
            dialogue: the dialogue, authenticated if credentials were given.
            refresh_capabilities: whether to send CAPA again, since capabilities may change with authentication
                (RFC 2449 section 5).
        """
        self._dialogue = dialogue
        self._protocol = dialogue.protocol
        self._refresh_capabilities = refresh_capabilities
        self._deleted = 0

    @property
    def capabilities(self) -> Capabilities:
        """The server's capabilities, from its last response to CAPA; empty if it refuses CAPA."""
        return self._protocol.capabilities

    @property
    def usable(self) -> bool:
        """Whether the session can still be used."""
        return self._dialogue.alive

    @property
    def login_delay(self) -> float:
        """The minimum seconds between two logins (RFC 2449 section 6.5); 0.0 if the server does not say."""
        return float(self.capabilities.login_delay or 0)

    async def stat(self) -> tuple[int, int]:
        """Return the number of messages and of octets.

        Raises:
            MailError: the server refused, or the session broke.
        """
        async with self._dialogue.exclusive_use("transaction"):
            await self._dialogue.set_reader(None)
            reply = await self._dialogue.execute(self._protocol.stat())
            if not reply.positive:
                raise self._dialogue.refusal(reply)
            words = [*reply.text.split(" "), "", ""]
            if not all(word.isascii() and word.isdigit() and len(word) <= MAX_DIGITS for word in words[:2]):
                raise RemoteProtocolError(f"not an answer to STAT: {reply.text[:40]!a}")
            return int(words[0]), int(words[1])

    async def listing(self) -> list[Entry]:
        """Return the messages in the maildrop, in the order of their numbers.

        Raises:
            MailError: the server refused, or the session broke.
        """
        async with self._dialogue.exclusive_use("transaction"):
            await self._dialogue.set_reader(None)
            repeat_capa, self._refresh_capabilities = self._refresh_capabilities and len(self.capabilities) > 0, False
            if "PIPELINING" in self.capabilities:
                capa = self._protocol.capa() if repeat_capa else b""
                with anyio.fail_after(self._dialogue.timeout):
                    await self._dialogue.send_commands(capa + self._protocol.list() + self._protocol.uidl())
                if capa:
                    await self._dialogue.read_capabilities()
                sizes, refused = await self._read_listing()
                uids, uidl_refusal = await self._read_listing()
            else:
                if repeat_capa:
                    await self._dialogue.request_capabilities()
                sizes, refused = await self._fetch_listing(self._protocol.list())
                uids, uidl_refusal = ([], None) if refused else await self._fetch_listing(self._protocol.uidl())
            if refused is None and uidl_refusal is not None and uidl_refusal.enhanced:
                # A server that does not know UIDL refuses without a response code. With one it fails for now, and
                # messages without their unique-ids would be taken for new ones.
                refused = uidl_refusal
            if refused is not None:
                raise self._dialogue.refusal(refused)
            return make_entries(sizes, uids)

    async def _fetch_listing(self, command: bytes) -> tuple[list[tuple[int, str]], Reply | None]:
        with anyio.fail_after(self._dialogue.timeout):
            await self._dialogue.send_commands(command)
        return await self._read_listing()

    async def _read_listing(self) -> tuple[list[tuple[int, str]], Reply | None]:
        """Return the lines of a listing, or the refusal."""
        reply = await self._dialogue.read_status()
        return (await self._dialogue.read_lines(parse_listing_lines), None) if reply.positive else ([], reply)

    def retrieve(self, entry: Entry) -> Retrieval:
        """Return a message, to be read with ``async for``; it is requested when it is first read.

        Args:
            entry: the message, from `listing`.
        """
        return SingleRetrieval(self._fetch([entry]), entry)

    def retrieve_many(self, entries: Iterable[Entry]) -> PipelinedRetrieval:
        """Return several messages, to be read with ``async for``, each a `Retrieval`.

        With PIPELINING, further messages are requested while the first ones arrive.

        Args:
            entries: the messages, from `listing`.
        """
        return self._fetch(entries)

    def _fetch(self, entries: Iterable[Entry]) -> PipelinedRetrieval:
        return PipelinedRetrieval(
            self._dialogue, entries, lambda some: self._protocol.retr(*[entry.number for entry in some])
        )

    def top(self, entry: Entry, lines: int = 0) -> Retrieval:
        """Return a message's header and the first lines of its body, to be read with ``async for``.

        Args:
            entry: the message, from `listing`.
            lines: the number of lines of the body.
        """
        if lines < 0:
            raise InputError("The number of lines cannot be negative.", stage="transaction")
        top = PipelinedRetrieval(
            self._dialogue, [Entry(entry.number, entry.uid, 0)], lambda _: self._protocol.top(entry.number, lines)
        )
        return SingleRetrieval(top, entry)

    async def delete(self, *entries: Entry) -> None:
        """Mark messages as deleted; leaving the session normally deletes them (RFC 1939 section 6).

        Args:
            entries: the messages, from `listing`; with PIPELINING the commands are sent together.

        Raises:
            DeletionsRefusedError: the server refused some; the others are marked.
            MailError: the session broke; nothing is deleted.
        """
        async with self._dialogue.exclusive_use("transaction"):
            await self._dialogue.set_reader(None)
            group_size = 100 if "PIPELINING" in self.capabilities else 1
            refused: dict[int, Reply] = {}
            for start in range(0, len(entries), group_size):
                refused |= await self._mark_deleted(entries[start : start + group_size])
            if refused:
                number, reply = next(iter(refused.items()))
                first = self._dialogue.refusal(reply, f"does not delete message {number}")
                raise DeletionsRefusedError(first, refused)

    async def _mark_deleted(self, entries: Sequence[Entry]) -> dict[int, Reply]:
        """Mark messages in one group; return the refusals by message number."""
        refused: dict[int, Reply] = {}
        with anyio.fail_after(self._dialogue.timeout):
            await self._dialogue.send_commands(b"".join(self._protocol.dele(entry.number) for entry in entries))
        for entry in entries:
            reply = await self._dialogue.read_status()
            if reply.positive:
                self._deleted += 1
            else:
                refused[entry.number] = reply
        return refused

    async def noop(self) -> None:
        """Send NOOP, to check that the session is alive.

        Raises:
            MailError: it is not.
        """
        async with self._dialogue.exclusive_use("transaction"):
            await self._dialogue.set_reader(None)
            reply = await self._dialogue.execute(self._protocol.noop())
            if not reply.positive:
                raise self._dialogue.refusal(reply)

    async def quit(self) -> None:
        """Send QUIT, and close; await the response only if it tells whether marked messages are deleted.

        Raises:
            MailError: messages were marked, and the server did not confirm their deletion; some may be deleted.
                Stage `quit`.
        """
        if self._dialogue.closed:
            if self._deleted:
                raise _not_deleted_error(
                    "The session was closed before messages could be deleted; they are still there."
                )
            return
        try:
            async with self._dialogue.exclusive_use("quit"):
                await self._dialogue.set_reader(None)
                self._dialogue.stage = "quit"
                await self._dialogue.send_commands(self._protocol.quit())
                if self._deleted and not (reply := await self._dialogue.read_status()).positive:
                    raise self._dialogue.refusal(reply)
        except ClosedError as error:
            if self._deleted:
                raise _not_deleted_error(str(error)) from error
        except MailError:
            if self._deleted:
                raise
        finally:
            await self._dialogue.abort()

    async def abort(self) -> None:
        """Close without QUIT: nothing is deleted (RFC 1939 section 6)."""
        await self._dialogue.abort()


def _not_deleted_error(sentence: str) -> NetworkError:
    return NetworkError(sentence, stage="quit", cause="connection_lost", retryable=True)
