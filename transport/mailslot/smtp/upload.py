"""Sending a long message in pieces while listening for an early reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from mailslot.smtp.before_end import run_hook
from mailslot.smtp.states import State, Verb
from mailslot.wire.protocol_error import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mailslot.smtp.before_end import Hook
    from mailslot.smtp.dialogue import SmtpDialogue
    from mailslot.smtp.protocol import ReplyReceived

PIECE_SIZE: Final = 65_536
"""Octets passed to the kernel at once."""

CHUNK_SIZE: Final = 262_144
"""Octets of a BDAT chunk; the server can refuse only between chunks (RFC 3030 section 2)."""


class Upload:
    """Sends the content of one message and awaits the final reply at the same time.

    A server may refuse in the middle of a message; its reply says more than the broken pipe that follows. The timeout
    is for progress: a slow connection is not a failure, a dead one is. No single wait exceeds the timeout, so that a
    change of state (the hook has ended, the end was sent) applies to the next wait.

    Args:
        dialogue: the dialogue.
        before_end: runs before the last piece is sent; its duration does not count towards the timeout.
        chunked: whether to use BDAT.
    """

    def __init__(self, dialogue: SmtpDialogue, before_end: Hook | None, *, chunked: bool) -> None:
        self._dialogue = dialogue
        self._before_end = before_end
        self._protocol = dialogue.protocol
        self._chunked = chunked
        self._last_progress = 0.0
        self._in_hook = False
        self._end_sent = False
        self._commands_complete = False
        self._sender_ended = anyio.Event()
        self._error: Exception | None = None

    async def run(
        self,
        beginning: bytes,
        rest: AsyncIterator[bytes],
        finish: Callable[[bytes], bytes],
        following: Callable[[], bytes],
        final_timeout: float,
    ) -> ReplyReceived:
        """Send everything and return the final reply.

        Args:
            beginning: the first octets of the content.
            rest: the remaining ones.
            finish: returns the last octets of the content and the end of the message, given the former.
            following: returns the commands to send right after it.
            final_timeout: seconds to wait for the reply once everything is sent.
        """
        received: ReplyReceived | None = None
        self._last_progress = anyio.current_time()
        # Only a cancellation may leave the task group: exceptions would come out in an exception group.
        async with anyio.create_task_group() as group:
            group.start_soon(self._send, beginning, rest, finish, following, group.cancel_scope)
            try:
                received = await self._read_reply(final_timeout)
                if received.reply.positive or self._end_sent:
                    # The server has the message; the commands after it may still be being sent.
                    with anyio.move_on_after(self._dialogue.timeout):
                        await self._sender_ended.wait()
                if received.reply.positive and not self._end_sent:
                    # The server cannot have a message whose end was not sent.
                    received, self._error = None, RemoteProtocolError("a yes before the message was whole")
            except Exception as error:  # noqa: BLE001 - raised again below, outside of the task group
                self._error = self._error or error
            group.cancel_scope.cancel()
        if received is None:
            assert self._error is not None  # noqa: S101 - either of the two is set
            raise self._error
        if received.verb is Verb.BDAT or not self._commands_complete:
            # Refused in the middle of the content, or cut off within a command: no further command is possible.
            await self._dialogue.abort()
        return received

    async def _send(
        self,
        beginning: bytes,
        rest: AsyncIterator[bytes],
        finish: Callable[[bytes], bytes],
        following: Callable[[], bytes],
        scope: anyio.CancelScope,
    ) -> None:
        size = CHUNK_SIZE if self._chunked else PIECE_SIZE
        buffer = bytearray(beginning)
        try:
            async for piece in rest:
                while len(buffer) > size:
                    await self._send_piece(buffer, size)
                buffer += piece
            while len(buffer) > size:
                await self._send_piece(buffer, size)
            await self._transmit(finish(bytes(buffer)), last=True)
            self._end_sent = True
            await self._transmit(following())
            self._commands_complete = True
        except OSError:
            # The receiving side will fail as well, once it has read the server's last reply.
            pass
        except Exception as error:  # noqa: BLE001 - raised again by `run`, outside of the task group
            refused = isinstance(error, LocalProtocolError) and self._protocol.state in {State.CLOSED, State.NEEDS_RSET}
            if not refused:
                self._error = error
                scope.cancel()
        finally:
            self._sender_ended.set()

    async def _send_piece(self, buffer: bytearray, size: int) -> None:
        with memoryview(buffer) as view:
            piece = bytes(view[:size])
        del buffer[:size]
        octets = self._protocol.bdat(piece, last=False) if self._chunked else self._protocol.content(piece)
        await self._transmit(octets)

    async def _transmit(self, octets: bytes, *, last: bool = False) -> None:
        view = memoryview(octets)
        for start in range(0, len(view), PIECE_SIZE):
            is_end = last and start + PIECE_SIZE >= len(view)
            if is_end:
                if self._before_end is not None:
                    self._in_hook = True
                    await run_hook(self._before_end)
                    self._in_hook = False
                self._last_progress = anyio.current_time()
            await self._dialogue.channel.send(view[start : start + PIECE_SIZE])
            # Until the kernel has taken the last octet, the server cannot have the end.
            self._dialogue.in_doubt = self._dialogue.in_doubt or is_end
            self._last_progress = anyio.current_time()
            self._dialogue.channel.made_progress()

    async def _read_reply(self, final_timeout: float) -> ReplyReceived:
        while True:
            while (event := self._protocol.next_event()) is None:
                await self._receive(final_timeout)
            received = self._dialogue.handle_reply(event)
            if received.verb is not Verb.BDAT or not received.reply.positive:
                return received

    async def _receive(self, final_timeout: float) -> None:
        """Receive octets; time out only if sending makes no progress either."""
        while True:
            try:
                latest = anyio.current_time() + min(self._dialogue.timeout, final_timeout)
                deadline = min(self._current_deadline(final_timeout), latest)
                self._protocol.receive(await self._dialogue.channel.receive(deadline))
            except TimeoutError:
                if anyio.current_time() < self._current_deadline(final_timeout):
                    continue
                if self._end_sent or not self._dialogue.channel.made_progress():
                    self._dialogue.current_timeout = self._current_timeout(final_timeout)
                    raise
                self._last_progress = anyio.current_time()
            else:
                return

    def _current_deadline(self, final_timeout: float) -> float:
        since = anyio.current_time() if self._in_hook else self._last_progress
        return since + self._current_timeout(final_timeout)

    def _current_timeout(self, final_timeout: float) -> float:
        return final_timeout if self._end_sent else self._dialogue.timeout
