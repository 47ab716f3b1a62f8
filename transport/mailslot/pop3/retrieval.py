"""Retrieving messages in order, with PIPELINING several at once."""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mailslot.pop3.dialogue import Pop3Dialogue
    from mailslot.pop3.listing import Entry

WINDOW: Final = 4_194_304
"""Octets requested ahead of those that have arrived: a third of a second at 100 Mbit/s."""

MAX_AHEAD: Final = 1_000
"""Messages requested ahead, however small."""

MAX_DISCARDED: Final = 2 * WINDOW
"""Octets of abandoned messages that are read and discarded; if there are more, the session is closed."""


class Retrieval:
    """The octets of one message, without stuffed dots, in pieces.

    Iterate over it once. The iteration ends normally only if the message is complete. If it is abandoned early, the
    next use of the session discards the rest, or closes the session if that is long.

    Attributes:
        entry: the message.
        complete: whether its last octets were returned.
    """

    def __init__(self, pipeline: PipelinedRetrieval, entry: Entry) -> None:
        self.entry = entry
        self.complete = False
        self._pipeline = pipeline
        self._whole: bytes | None = None

    def __aiter__(self) -> Retrieval:
        return self

    async def __anext__(self) -> bytes:
        """Return the next octets.

        Raises:
            RefusedError: the server refuses this message; the session can continue.
            MailError: the session broke; the message is incomplete.
        """
        if self._whole is not None:
            data, self._whole, self.complete = self._whole, None, True
        else:
            data = b"" if self.complete else await self._pipeline.read(self)
        if not data:
            raise StopAsyncIteration
        return data

    def prefetch(self, message: bytes) -> None:
        """Take the whole message, which has come before it is read."""
        self._whole = message


class PipelinedRetrieval:
    """Retrieves several messages; iterate over it to get a `Retrieval` for each.

    A message that is not read to its end is discarded when the next one is due. Any other use of the session in between
    discards all messages that were requested ahead and are not complete yet, or closes the session if they are long; if
    the iteration then continues, they are requested again. So delete messages after the loop.
    """

    def __init__(
        self, dialogue: Pop3Dialogue, entries: Iterable[Entry], command: Callable[[Iterable[Entry]], bytes]
    ) -> None:
        """Prepare the retrieval; nothing is sent yet.

        Args:
            dialogue: the dialogue.
            entries: the messages.
            command: returns the commands that request some of them.
        """
        self._dialogue = dialogue
        self._exclusive_use = dialogue.exclusive_use("transaction")
        self._protocol = dialogue.protocol
        self._entries: Iterator[Entry] = iter(entries)
        self._command = command
        self._all_requested = False
        self._requested: deque[Entry] = deque()
        self._arrived: deque[Retrieval] = deque()
        self._octets_ahead = 0
        self._current: Retrieval | None = None
        self._status_read = False
        self._octets_due = 0

    def __aiter__(self) -> PipelinedRetrieval:
        return self

    async def __anext__(self) -> Retrieval:
        """Return the next message.

        Raises:
            MailError: the session broke.
        """
        if self._arrived:
            return self._arrived.popleft()
        async with self._exclusive_use:
            await self._dialogue.set_reader(self)
            if self._current is not None:
                await self._discard()
            if not self._requested:
                await self._request_more()
            # Short messages mostly arrive several at once.
            while self._requested and (message := self._dialogue.next_message()) is not None:
                self._arrived.append(self._start_next())
                self._arrived[-1].prefetch(message)
                self._finish_current()
            if self._arrived:
                await self._keep_window_full()
                return self._arrived.popleft()
            if self._requested:
                return self._start_next()
            await self._dialogue.set_reader(None)
        raise StopAsyncIteration

    async def read(self, retrieval: Retrieval) -> bytes:
        """Return the next octets of a retrieval; empty at its end."""
        async with self._exclusive_use:
            # Another task may have used the session while this one waited for its turn.
            if retrieval is self._current and self._dialogue.reader is self:
                return await self._read(retrieval)
        raise _abandoned_error()

    async def drain(self) -> None:
        """Discard all that was requested; messages that were not returned yet will be requested again.

        Raises:
            ClosedError: there is too much to discard; the session is closed.
        """
        waiting = tuple(self._requested)
        await self._discard(all_requested=True)
        self._entries = chain(waiting, self._entries)
        self._all_requested = False

    async def _read(self, retrieval: Retrieval) -> bytes:
        if not self._status_read:
            reply = await self._dialogue.read_status()
            self._status_read = True
            if not reply.positive:
                self._finish_current()
                raise self._dialogue.refusal(reply, f"does not give message {retrieval.entry.number}")
        data, retrieval.complete = await self._dialogue.read_octets()
        arrived = min(len(data), self._octets_due)
        self._octets_ahead -= arrived
        self._octets_due -= arrived
        if retrieval.complete:
            self._finish_current()
        await self._keep_window_full()
        return data

    async def _keep_window_full(self) -> None:
        if self._octets_ahead < WINDOW // 2 and not self._all_requested and "PIPELINING" in self._protocol.capabilities:
            await self._request_more()

    async def _request_more(self) -> None:
        """Request more messages within the window; without PIPELINING one, once nothing is pending."""
        limit = MAX_AHEAD if "PIPELINING" in self._protocol.capabilities else 1
        entries: list[Entry] = []
        while len(self._requested) < limit and (self._octets_ahead < WINDOW or not self._requested):
            entry = next(self._entries, None)
            if entry is None:
                self._all_requested = True
                break
            entries.append(entry)
            self._requested.append(entry)
            self._octets_ahead += entry.size
        if entries:
            await self._dialogue.send_commands(self._command(entries))

    def _start_next(self) -> Retrieval:
        """Make the oldest requested message the current one."""
        entry = self._requested.popleft()
        self._status_read = False
        self._octets_due = entry.size
        self._current = Retrieval(self, entry)
        return self._current

    def _finish_current(self) -> None:
        self._octets_ahead -= self._octets_due
        self._current = None

    async def _discard(self, *, all_requested: bool = False) -> None:
        """Discard the rest of the current message and, with `all_requested`, all others that were requested."""
        read = 0
        with anyio.fail_after(self._dialogue.timeout):
            while self._current is not None or (all_requested and self._requested):
                if self._current is None:
                    self._start_next()
                if self._status_read or (await self._dialogue.read_status()).positive:
                    last = False
                    while not last:
                        data, last = await self._dialogue.read_octets()
                        read += len(data)
                        if read > MAX_DISCARDED:
                            raise _too_long_error()
                self._finish_current()


class SingleRetrieval(Retrieval):
    """A single message, requested when it is first read."""

    def __init__(self, pipeline: PipelinedRetrieval, entry: Entry) -> None:
        super().__init__(pipeline, entry)
        self._inner: Retrieval | None = None

    async def __anext__(self) -> bytes:
        """Return the next octets, as `Retrieval` does."""
        if self._inner is None:
            self._inner = await anext(self._pipeline, None)
        if self._inner is None:
            raise _abandoned_error()
        return await self._inner.__anext__()


def _abandoned_error() -> ClosedError:
    return ClosedError(
        "The message was left before it was complete, and the session has gone on.",
        stage="transaction",
        cause="connection_lost",
    )


def _too_long_error() -> ClosedError:
    return ClosedError(
        "A message was left before it was complete, and its rest is too long to read over; the session was ended.",
        stage="transaction",
        cause="connection_lost",
    )
