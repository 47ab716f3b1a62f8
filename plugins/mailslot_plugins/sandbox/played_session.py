"""The sandbox's additions to the library's sessions: injected faults, and strict checks of the client's commands.

The library's servers are tolerant and correct. So this module stands between the connection and the server: it passes
on one command at a time, records where the client violates a standard, and changes the replies at planned faults.
Replies to pipelined commands are sent together.
"""

from __future__ import annotations

import logging
import math
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final

import anyio

from mailslot.net.server_session import FLUSH_AT, Connection, ConnectionLostError, Core, ServerSession
from mailslot_plugins.sandbox.faults import find_fault

if TYPE_CHECKING:
    from mailslot.wire.reply import Reply
    from mailslot_plugins.sandbox.authentication import Authenticator
    from mailslot_plugins.sandbox.faults import ConnectionEnd, Fault

_MAX_LINE: Final = 65_536
_VERB: Final = re.compile(r"[A-Z]{1,12}(?= |\Z)")

logger = logging.getLogger(__name__)


class PlayedSession(ServerSession[Core, Connection]):
    """The base of the sandbox's sessions, to be placed before a protocol's session among the base classes."""

    authenticator: Authenticator
    _core: Any
    _not_crlf: Reply
    """The reply to a line that does not end with CRLF."""
    _response_too_long: Reply

    def play(self, authenticator: Authenticator) -> None:
        """Prepare for `run`."""
        self.authenticator = authenticator
        authenticator.begin_moment = self._begin_moment
        self._buffer = bytearray()
        self._moments: dict[str, int] = {}
        self._fault: Fault | None = None
        self._held = bytearray()
        self._challenged = True
        self._deaf = False
        self._ending: ConnectionEnd | None = None

    # To be implemented for each protocol.

    @abstractmethod
    def _pipelines(self, verb: str) -> bool:
        """Whether a client may send further commands after this one without waiting for its reply."""

    @abstractmethod
    def _inspect(self, line: bytes, verb: str) -> Reply | None:
        """Record the violations in a command; return the refusal if it must not be passed on to the server."""

    @property
    def _content_length(self) -> int:
        """The number of received octets that belong to a message; 0 if a command or a response is due."""
        return 0

    # Moments.

    async def _begin_moment(self, moment: str) -> bool:
        """Begin a moment, and wait as long as its fault says; return whether the command has to be executed."""
        await self._end_moment()
        nth = self._moments[moment] = self._moments.get(moment, 0) + 1
        dialogue, faults = self.authenticator.dialogue, self.authenticator.state.faults
        fault = find_fault(faults, moment, nth, dialogue.protocol, dialogue.number)
        if fault is None:
            return True
        await super()._flush()
        self._fault = fault
        if fault.until is not None:
            await fault.until.wait()
        await anyio.sleep(fault.delay)
        return fault.act

    async def _end_moment(self) -> None:
        """Send the reply as changed by the fault of the moment."""
        fault = self._fault
        if fault is None:
            return
        await super()._flush()
        reply, self._held, self._fault = bytes(self._held), bytearray(), None
        said, event = fault.said_instead_of(reply), self.connection.transcript.event
        if fault.keep is not None:
            event(f"a fault cuts the answer after {fault.keep} octets")
        if fault.replace or fault.append:
            event(f"a fault sends {len(said)} octets")
        step = 1 if fault.split else max(len(said), 1)
        for start in range(0, len(said), step):
            if start and fault.pause:
                await anyio.sleep(fault.pause)
            await super()._send(said[start : start + step], math.inf)
        if fault.ending:
            event(f"a fault ends the connection: {fault.ending}")
            self._ending = fault.ending
            raise ConnectionLostError

    async def _send(self, octets: bytes, deadline: float) -> None:
        if self._fault is None:
            await super()._send(octets, deadline)
        else:
            self._held += octets

    async def _flush(self, at_least: int = 1) -> None:
        if self._in_exchange and not self._challenged:
            self._challenged = True
            if self._buffer:
                self._note_violation("a response before its challenge")
            await self._begin_challenge()
        elif self._fault is None and self._has_unit:
            at_least = FLUSH_AT
        await super()._flush(at_least)

    async def _begin_challenge(self) -> None:
        """Begin the moment of a challenge, which is the pending reply."""
        challenge = self._core.octets_to_send()
        await self._begin_moment("challenge")
        await self._send(challenge, math.inf)

    @property
    def _in_exchange(self) -> bool:
        return bool(self._core.state.name == "AUTH")

    def _inspect_response(self, line: bytes) -> Reply | None:
        if len(line) % 4 and line != b"*":
            self._note_violation("base64 without its padding")
        behavior = self.authenticator.behavior
        if len(line) <= behavior.response_limit:
            return None
        if self._response_too_long not in behavior.replies:
            # The server closes the connection without a reply.
            self._core.close("limit")
        return self._response_too_long

    # From the connection to the server.

    def _received(self, data: bytes) -> None:
        self._buffer += data

    @property
    def _has_unit(self) -> bool:
        return bool(self._content_length) or b"\n" in self._buffer or len(self._buffer) > _MAX_LINE

    async def _receive(self) -> None:
        await self._end_moment()
        if self._core.refusal in self.authenticator.closes_after:
            self._core.close("limit")
        elif self._deaf or not self._has_unit:
            await super()._receive()
            if self._deaf:
                self._buffer.clear()
        elif length := self._content_length:
            self._core.receive(self._take(length))
        else:
            await self._take_line()

    def _take(self, length: int) -> bytes:
        octets = bytes(self._buffer[:length])
        del self._buffer[:length]
        return octets

    async def _take_line(self) -> None:
        octets = self._take(self._buffer.find(b"\n") + 1 or len(self._buffer))
        if not octets.endswith(b"\r\n"):
            self._note_violation("a line that does not end with CRLF, or does not end")
            self._core.close("protocol", self._not_crlf)
            return
        line, self._challenged = octets[:-2], False
        if self._in_exchange:
            refusal = self._inspect_response(line)
            await self.authenticator.take_response(line)
        else:
            verb = self.authenticator.dialogue.verb = self._verb_of(line)
            if self._buffer and not self._pipelines(verb):
                self._note_violation(f"something was sent behind {verb or 'a line'} before it was answered")
            refusal = self._inspect(line, verb)
            if verb and not await self._begin_moment(verb):
                self.connection.transcript.client(verb if verb in {"AUTH", "PASS"} else line.decode("utf-8", "replace"))
                return
            if verb in {"STARTTLS", "STLS", "DATA"}:
                # The server refuses the rest.
                octets += self._take(len(self._buffer))
        if refusal is None:
            self._core.receive(octets)
        elif self._core.state.name != "CLOSED":
            self._core.refuse(line, refusal)

    @staticmethod
    def _verb_of(line: bytes) -> str:
        match = _VERB.match(line.decode("utf-8", "replace").upper())
        return match[0] if match else ""

    def _note_violation(self, text: str) -> None:
        self.authenticator.dialogue.add_violation(text)

    # The session.

    async def _start_tls(self) -> None:
        if not await self._begin_moment("TLS"):
            await self._end_moment()
            raise ConnectionLostError
        await super()._start_tls()

    async def _converse(self) -> None:
        await super()._converse()
        await self._release()
        await self._end_moment()

    def _record_loss(self, error: BaseException | None) -> None:
        if self._ending is None:
            super()._record_loss(error)

    def _backend_failed(self, error: Exception) -> None:
        self.authenticator.state.errors.append(error)
        dialogue = self.authenticator.dialogue
        logger.error("The sandbox failed at a client of %s.", dialogue.protocol, exc_info=error)

    async def _close_channel(self, *, finished: bool) -> None:
        if self._ending == "reset":
            self._channel.reset()
        await super()._close_channel(finished=finished and self._ending is None)
