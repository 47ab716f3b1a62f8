"""A long message on its way: sent piece by piece, with an ear for what the server says meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from mailslot.smtp.states import State, Verb
from mailslot.wire.protocol_error import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mailslot.smtp.before_end import BeforeEndHook
    from mailslot.smtp.dialogue import SmtpDialogue
    from mailslot.smtp.protocol import ReplyReceived

PIECE: Final = 65_536
"""Octets given to the system at once."""

CHUNK: Final = 262_144
"""Octets of a BDAT chunk; the server can refuse only between them (RFC 3030 section 2)."""


class Upload:
    """The content of one message, sent while the server's answer is awaited.

    A server may refuse in the middle, and what it says is worth more than the broken pipe that follows. Time is
    measured by progress, so that a slow line is no fault and a dead one is. No single wait is longer than that time,
    so that what changes beside it (the hook has ended, the end is out) counts from the next one on.

    Args:
        dialogue: the session's.
        before_end: awaited before the last piece of the message goes out; its time is no fault of the line's.
        chunked: whether by BDAT.
    """

    def __init__(self, dialogue: SmtpDialogue, before_end: BeforeEndHook, *, chunked: bool) -> None:
        self._dialogue = dialogue
        self._before_end = before_end
        self._protocol = dialogue.protocol
        self._chunked = chunked
        self._progress = 0.0
        self._in_hook = False
        self._out = False
        self._clear = False
        self._ended = anyio.Event()
        self._failed: Exception | None = None

    async def run(
        self,
        head: bytes,
        rest: AsyncIterator[bytes],
        end: Callable[[bytes], bytes],
        behind: Callable[[], bytes],
        final_timeout: float,
    ) -> ReplyReceived:
        """Send everything and return the server's last word.

        Args:
            head: the content's first octets.
            rest: the others.
            end: makes the last octets of the content into the end of the message.
            behind: gives what goes out behind it at once.
            final_timeout: seconds to wait for the answer once all is out.
        """
        answer: ReplyReceived | None = None
        self._progress = anyio.current_time()
        # Nothing but cancellation may cross the task group: what is raised in one comes out in an exception group.
        async with anyio.create_task_group() as group:
            group.start_soon(self._send, head, rest, end, behind, group.cancel_scope)
            try:
                answer = await self._listen(final_timeout)
                if answer.reply.positive or self._out:
                    # The server has the message; what goes out behind it may still be on its way.
                    with anyio.move_on_after(self._dialogue.timeout):
                        await self._ended.wait()
                if answer.reply.positive and not self._out:
                    # It cannot have what has not left; whether it had enough to deliver, nobody knows.
                    answer, self._failed = None, RemoteProtocolError("a yes before the message was whole")
            except Exception as error:  # noqa: BLE001 - raised again below, outside of the task group
                self._failed = self._failed or error
            group.cancel_scope.cancel()
        if answer is None:
            assert self._failed is not None  # noqa: S101 - either of the two is set
            raise self._failed
        if answer.verb is Verb.BDAT or not self._clear:
            # Refused in the middle of the content, or cut within a command: there is no way back to commands.
            await self._dialogue.abort()
        return answer

    async def _send(
        self,
        head: bytes,
        rest: AsyncIterator[bytes],
        end: Callable[[bytes], bytes],
        behind: Callable[[], bytes],
        scope: anyio.CancelScope,
    ) -> None:
        size = CHUNK if self._chunked else PIECE
        held = bytearray(head)
        try:
            async for piece in rest:
                while len(held) > size:
                    await self._put(held, size)
                held += piece
            while len(held) > size:
                await self._put(held, size)
            await self._transmit(end(bytes(held)), last=True)
            self._out = True
            await self._transmit(behind())
            self._clear = True
        except OSError:
            # The listening side finds out too, once it has read what the server said last.
            pass
        except Exception as error:  # noqa: BLE001 - raised again by `run`, outside of the task group
            refused = isinstance(error, LocalProtocolError) and self._protocol.state in {State.CLOSED, State.NEEDS_RSET}
            if not refused:
                self._failed = error
                scope.cancel()
        finally:
            self._ended.set()

    async def _put(self, held: bytearray, size: int) -> None:
        with memoryview(held) as view:
            piece = bytes(view[:size])
        del held[:size]
        octets = self._protocol.chunk(piece, last=False) if self._chunked else self._protocol.content(piece)
        await self._transmit(octets)

    async def _transmit(self, octets: bytes, *, last: bool = False) -> None:
        view = memoryview(octets)
        for start in range(0, len(view), PIECE):
            ends = last and start + PIECE >= len(view)
            if ends:
                self._in_hook = True
                await self._before_end()
                self._in_hook = False
                self._progress = anyio.current_time()
            await self._dialogue.channel.send(view[start : start + PIECE])
            # Until the system has taken the last octet, nobody can have the end.
            self._dialogue.handed_over = self._dialogue.handed_over or ends
            self._progress = anyio.current_time()
            self._dialogue.channel.progressed()

    async def _listen(self, final_timeout: float) -> ReplyReceived:
        while True:
            while (event := self._protocol.next_event()) is None:
                await self._receive(final_timeout)
            answer = self._dialogue.handle_reply(event)
            if answer.verb is not Verb.BDAT or not answer.reply.positive:
                return answer

    async def _receive(self, final_timeout: float) -> None:
        """Receive something, for as long as the sending side gets on."""
        while True:
            try:
                longest = anyio.current_time() + min(self._dialogue.timeout, final_timeout)
                deadline = min(self._deadline(final_timeout), longest)
                self._protocol.receive(await self._dialogue.channel.receive(deadline))
            except TimeoutError:
                if anyio.current_time() < self._deadline(final_timeout):
                    continue
                if self._out or not self._dialogue.channel.progressed():
                    self._dialogue.patience = self._patience(final_timeout)
                    raise
                self._progress = anyio.current_time()
            else:
                return

    def _deadline(self, final_timeout: float) -> float:
        since = anyio.current_time() if self._in_hook else self._progress
        return since + self._patience(final_timeout)

    def _patience(self, final_timeout: float) -> float:
        return final_timeout if self._out else self._dialogue.timeout
