"""Messages on their way out of a maildrop: in the order asked for, several ahead where the server allows."""

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
"""Octets asked for ahead of what has arrived: what a line of 100 Mbit/s holds in a third of a second."""

MAX_AHEAD: Final = 1_000
"""Messages asked for ahead, however small."""

MAX_OVERREAD: Final = 2 * WINDOW
"""Octets that were asked for, are wanted no more, and are read over; for more the session is ended."""


class Retrieval:
    """One message's octets, dots unstuffed, piece by piece.

    Iterate over it once. It ends normally only when the message is complete; where it is left early, the next
    use of the session reads over the rest, or ends the session where that is long.

    Attributes:
        entry: which message.
        complete: whether its last octets have been given.
    """

    def __init__(self, fetch: Fetch, entry: Entry) -> None:
        self.entry = entry
        self.complete = False
        self._fetch = fetch

    def __aiter__(self) -> Retrieval:
        return self

    async def __anext__(self) -> bytes:
        """Return the next octets.

        Raises:
            RefusedError: the server does not give this message; the session goes on.
            MailError: the session broke; what came so far is not the message.
        """
        if not self.complete and (data := await self._fetch.read(self)):
            return data
        raise StopAsyncIteration


class Fetch:
    """Messages asked for in one go; iterate over it to get a `Retrieval` for each.

    A message that is not read to its end is read over when the next one is due. Any other use of the session
    in between reads over all that was asked for ahead, and ends the session where that is much; where the
    iteration then goes on, those messages are asked for again. So delete messages after the loop.
    """

    def __init__(self, dialogue: Pop3Dialogue, entries: Iterable[Entry], command: Callable[[Entry], bytes]) -> None:
        """Prepare; nothing is sent yet.

        Args:
            dialogue: the session's.
            entries: which messages.
            command: makes the command that asks for one.
        """
        self._dialogue = dialogue
        self._protocol = dialogue.protocol
        self._entries: Iterator[Entry] = iter(entries)
        self._command = command
        self._asked: deque[Entry] = deque()
        self._ahead = 0
        self._current: Retrieval | None = None
        self._begun = False
        self._due = 0

    def __aiter__(self) -> Fetch:
        return self

    async def __anext__(self) -> Retrieval:
        """Return the next message.

        Raises:
            MailError: the session broke.
        """
        async with self._dialogue.exclusive_use("transaction"):
            await self._dialogue.read_by(self)
            if self._current is not None:
                await self._read_over()
            if not self._asked:
                await self._ask()
            if self._asked:
                return self._take()
            await self._dialogue.read_by(None)
        raise StopAsyncIteration

    async def read(self, retrieval: Retrieval) -> bytes:
        """Return a retrieval's next octets: none where it has no more."""
        async with self._dialogue.exclusive_use("transaction"):
            # Another task may have used the session while this one waited for its turn.
            if retrieval is self._current and self._dialogue.reader is self:
                return await self._read(retrieval)
        raise _left()

    async def leave(self) -> None:
        """Read over all that was asked for; what nobody was given yet will be asked for again.

        Raises:
            ClosedError: that is too much; the session is ended.
        """
        waiting = tuple(self._asked)
        await self._read_over(all_asked=True)
        self._entries = chain(waiting, self._entries)

    async def _read(self, retrieval: Retrieval) -> bytes:
        if not self._begun:
            reply = await self._dialogue.status()
            self._begun = True
            if not reply.positive:
                self._finish()
                raise self._dialogue.refusal(reply, f"does not give message {retrieval.entry.number}")
        data, retrieval.complete = await self._dialogue.octets()
        arrived = min(len(data), self._due)
        self._ahead -= arrived
        self._due -= arrived
        if retrieval.complete:
            self._finish()
        if self._ahead < WINDOW // 2 and "PIPELINING" in self._protocol.capabilities:
            await self._ask()
        return data

    async def _ask(self) -> None:
        """Ask for more, within the window; without PIPELINING for one, once nothing is under way."""
        most = MAX_AHEAD if "PIPELINING" in self._protocol.capabilities else 1
        commands = bytearray()
        while len(self._asked) < most and (self._ahead < WINDOW or not self._asked):
            entry = next(self._entries, None)
            if entry is None:
                break
            commands += self._command(entry)
            self._asked.append(entry)
            self._ahead += entry.size
        if commands:
            await self._dialogue.say(bytes(commands))

    def _take(self) -> Retrieval:
        """Make the oldest message asked for the current one."""
        entry = self._asked.popleft()
        self._begun = False
        self._due = entry.size
        self._current = Retrieval(self, entry)
        return self._current

    def _finish(self) -> None:
        self._ahead -= self._due
        self._current = None

    async def _read_over(self, *, all_asked: bool = False) -> None:
        """Read over the rest of the current message and, if told so, over all others that were asked for."""
        read = 0
        with anyio.fail_after(self._dialogue.timeout):
            while self._current is not None or (all_asked and self._asked):
                if self._current is None:
                    self._take()
                if self._begun or (await self._dialogue.status()).positive:
                    last = False
                    while not last:
                        data, last = await self._dialogue.octets()
                        read += len(data)
                        if read > MAX_OVERREAD:
                            raise _too_much()
                self._finish()


class SingleRetrieval(Retrieval):
    """A message asked for by itself, when it is first read."""

    def __init__(self, fetch: Fetch, entry: Entry) -> None:
        super().__init__(fetch, entry)
        self._inner: Retrieval | None = None

    async def __anext__(self) -> bytes:
        """Return the next octets, as `Retrieval` does."""
        if self._inner is None:
            self._inner = await anext(self._fetch, None)
        if self._inner is None:
            raise _left()
        return await self._inner.__anext__()


def _left() -> ClosedError:
    return ClosedError(
        "The message was left before it was complete, and the session has gone on.",
        stage="transaction",
        cause="connection_lost",
    )


def _too_much() -> ClosedError:
    return ClosedError(
        "A message was left before it was complete, and its rest is too long to read over; the session was ended.",
        stage="transaction",
        cause="connection_lost",
    )
