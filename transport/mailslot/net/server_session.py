"""A server's session with one client, whatever they speak: TLS, deadlines, and an end that loses no reply.

A protocol's own session brings its core and what it does with each of the core's events.
"""

from __future__ import annotations

import logging
import ssl
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, TypeVar

import anyio
import anyio.lowlevel

from mailslot.net.accepted import TlsHandshakeError, tls_error_reason
from mailslot.net.endpoint import Security
from mailslot.net.server_connection import ServerConnection
from mailslot.net.socket_stream import InterruptedWaitError
from mailslot.wire.closing import Closing
from mailslot.wire.server_core import TurnOver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mailslot.net.accepted import AcceptedConnection
    from mailslot.net.sign_in_delay import SignInDelay
    from mailslot.wire.closing import Ending
    from mailslot.wire.reply import Reply
    from mailslot.wire.server_core import Wording

logger = logging.getLogger(__name__)

MAX_FAILED_SIGN_INS: Final = 3
"""Failed sign-ins after which the next one ends the connection."""

_LAST_SEND_TIMEOUT: Final = 5.0
"""Seconds to wait for a client that does not take the last replies."""

FLUSH_AT: Final = 16_384
"""Octets of replies that may collect while commands are taken from the buffer."""


class ConnectionLostError(Exception):
    """The connection broke, was closed by the client, or stood still; `__cause__` has the error."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a server speaks with its clients.

    Attributes:
        host: our own name, in the greeting.
        security: whether TLS comes first, by a command or not at all. Passwords are taken in clear only with ``NONE``.
        tls_context: returns the context for the next handshake; None without TLS.
        idle_timeout: seconds in which a command must be complete, and in which a message must make some progress.
        tls_timeout: seconds for a handshake.
        rejected_timeout: seconds for which a client is heard that was refused instead of greeted.
        slow_message_time: seconds that a message may take in any case.
        slowest_rate: octets a second at which it must pass if it takes longer.
        wording: other words for the server's replies; None for its own.
    """

    host: str
    security: Security
    tls_context: Callable[[], ssl.SSLContext] | None = None
    idle_timeout: float = 300.0
    tls_timeout: float = 60.0
    rejected_timeout: float = 10.0
    slow_message_time: float = 3_600.0
    slowest_rate: float = 500.0
    wording: Wording | None = None


@dataclass(frozen=True, slots=True)
class EndingReplies:
    """What a client is told before its connection is closed.

    Attributes:
        idle: it was silent for too long; None to say nothing.
        stopping: the server stops.
        internal_error: the backend failed.
        out_of_sync: octets came before the reply to the command that starts TLS.
        too_many_failures: of its sign-ins.
    """

    idle: Reply | None
    stopping: Reply
    internal_error: Reply
    out_of_sync: Reply
    too_many_failures: Reply


class ServerProtocol(Protocol):
    """A core without I/O, as far as every session uses it."""

    encrypted: bool
    other_protocol: str | None
    refusal: Reply | None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, so that the session may be ended."""
        ...

    def receive(self, data: bytes) -> None:
        """Take octets from the client."""
        ...

    def next_event(self) -> object | None:
        """Return the next event; None if more octets are needed, or the session is over."""
        ...

    def reply(self, reply: Reply | None = None) -> None:
        """Answer the last event: accept it, or refuse it with a reply."""
        ...

    def octets_to_send(self, at_least: int = 1) -> bytes:
        """Return, and forget, what is to be sent; nothing if it is less than `at_least` octets."""
        ...

    def tls_started(self) -> None:
        """Forget what is known from before TLS, which has come up."""
        ...

    def close(self, ending: Ending, reply: Reply | None = None) -> None:
        """End the session, with a last reply or without."""
        ...


Core = TypeVar("Core", bound=ServerProtocol)
Connection = TypeVar("Connection", bound=ServerConnection)


class ServerSession(ABC, Generic[Core, Connection]):
    """A session, from the accepted connection to its end.

    Attributes:
        connection: what is known of the client.
    """

    replies: ClassVar[EndingReplies]
    reactions: ClassVar[Mapping[type, Callable[[Any, Any], Awaitable[None]]]]
    """What is done with each kind of event."""

    def __init__(
        self,
        channel: AcceptedConnection,
        settings: ServerSettings,
        connection: Connection,
        core: Core,
        delay: SignInDelay,
    ) -> None:
        """Begin a session; `run` leads it."""
        self._channel = channel
        self._settings = settings
        self.connection = connection
        self._core = core
        self._delay = delay
        self._failed_sign_ins = 0
        self._rejected = False
        self._stopping = False
        self._deadline = 0.0
        self._receiving = False

    # What a protocol adds.

    @abstractmethod
    async def _greet(self) -> bool:
        """Greet the client, or refuse to; return whether it was greeted."""

    @abstractmethod
    async def _release(self) -> None:
        """Give up what the session holds. Called at its end, shielded from cancellation."""

    @abstractmethod
    async def _closed(self) -> None:
        """Tell the backend of the end."""

    @property
    def _idle_timeout(self) -> float:
        return self._settings.idle_timeout

    def _next_deadline(self) -> float:
        """Return until when to wait for octets."""
        return self._deadline

    # The session.

    async def run(self) -> None:
        """Speak with the client until either side ends the session. Errors of the backend are logged."""
        finished = False
        try:
            await self._start()
            await self._converse()
            finished = True
        except TlsHandshakeError as error:
            self.connection.transcript.event(f"TLS failed: {error}")
            self._core.close("tls")
            # The alert that tells the client why must not be lost.
            finished = True
        except ConnectionLostError as error:
            self._record_loss(error.__cause__)
        except Exception as error:  # noqa: BLE001 - it is logged
            self._backend_failed(error)
            self._core.close("error", self.replies.internal_error)
            finished = True
        finally:
            with anyio.CancelScope(shield=True):
                await self._end(finished=finished)

    def stop(self) -> None:
        """End the session as soon as nothing is under way: now, or later."""
        self._stopping = True
        if self._receiving and self._core.is_idle:
            self._channel.interrupt()

    def _backend_failed(self, error: Exception) -> None:
        logger.error("The backend of the listener %s failed", self.connection.peer.listener, exc_info=error)

    def _record_loss(self, error: BaseException | None) -> None:
        connection = self.connection
        if isinstance(error, ssl.SSLError):
            # Such as an alert by a client that does not trust our certificate, which comes late in TLS 1.3.
            connection.peer.tls_error = tls_error_reason(error)
            connection.transcript.event(f"TLS failed: {connection.peer.tls_error}")
        elif isinstance(error, TimeoutError) and error.errno is None:
            connection.transcript.event("the client does not read the replies")
            self._core.close("idle")
        else:
            connection.transcript.event("the client has closed the connection")
        self._core.close("closed")

    async def _start(self) -> None:
        if self._settings.security is Security.TLS:
            await self._start_tls()
            self._core.encrypted = True
            self.connection.transcript.event("encrypted from here on")
        self._rejected = not await self._greet()
        timeout = self._settings.rejected_timeout if self._rejected else self._idle_timeout
        self._deadline = anyio.current_time() + timeout

    async def _start_tls(self) -> None:
        assert self._settings.tls_context is not None  # noqa: S101 - else TLS would not be offered
        deadline = anyio.current_time() + self._settings.tls_timeout
        await self._channel.start_tls(self._settings.tls_context(), deadline)

    async def _converse(self) -> None:
        core = self._core
        while True:
            while (event := core.next_event()) is not None:
                if isinstance(event, Closing):
                    self.connection.ending = event.ending
                    return
                if isinstance(event, TurnOver):
                    await self._flush()
                    await anyio.lowlevel.checkpoint()
                    continue
                await self.reactions[type(event)](self, event)
                await self._flush(at_least=FLUSH_AT)
            await self._flush()
            if self._stopping and core.is_idle:
                core.close("stopped", self.replies.stopping)
            else:
                await self._receive()

    async def _flush(self, at_least: int = 1) -> None:
        """Send the replies that have collected. Each gives the client new time for its next command."""
        octets = self._core.octets_to_send(at_least)
        if not octets:
            return
        deadline = anyio.current_time() + self._idle_timeout
        if not self._rejected:
            self._deadline = deadline
        await self._send(octets, deadline)

    async def _send(self, octets: bytes, deadline: float) -> None:
        try:
            await self._channel.send(octets, deadline)
        except OSError as error:
            raise ConnectionLostError from error

    async def _receive(self) -> None:
        deadline = self._next_deadline()
        self._receiving = True
        try:
            data = await self._channel.receive(deadline)
        except TimeoutError as error:
            if error.errno is not None:
                # The system's own, for a connection that is dead.
                raise ConnectionLostError from error
            self._core.close("idle", self.replies.idle)
        except InterruptedWaitError:
            return
        except (OSError, EOFError) as error:
            raise ConnectionLostError from error
        else:
            self._received(data)
        finally:
            self._receiving = False

    def _received(self, data: bytes) -> None:
        self._core.receive(data)

    # What commands of every protocol need.

    def _forget_client(self) -> None:
        """Forget what the client has said before TLS (RFC 3207 section 4.2)."""
        self.connection.user = None

    async def upgrade(self, _event: object) -> None:
        """Start TLS, at the command that asks for it."""
        if self._channel.has_pending_octets():
            # Sent before our reply: they could be mistaken for octets received inside TLS (RFC 3207 section 6).
            self._core.close("protocol", self.replies.out_of_sync)
            return
        self._core.reply()
        await self._flush()
        await self._start_tls()
        self._core.tls_started()
        self._forget_client()

    def _may_sign_in(self, user: str, mechanism: str | None = None) -> bool:
        """Record that a user tries to sign in; return False, and end the session, after too many failures."""
        self.connection.tried_user, self.connection.mechanism = user, mechanism
        if self._failed_sign_ins < MAX_FAILED_SIGN_INS:
            return True
        self._core.close("limit", self.replies.too_many_failures)
        return False

    def _signed_in(self, user: str) -> None:
        self._delay.succeeded(self.connection.peer.address)
        self.connection.user = user

    async def _sign_in_failed(self) -> None:
        """Count a failed sign-in, and wait before the refusal is sent."""
        self._failed_sign_ins += 1
        await anyio.sleep(self._delay.failed(self.connection.peer.address))

    # The end.

    async def _end(self, *, finished: bool) -> None:
        """Give up what is held, send the last replies, close, and tell the backend.

        Args:
            finished: whether the client should get the last replies; else the connection is closed at once.
        """
        connection, core = self.connection, self._core
        # Unless it is closed already, this was cancelled.
        core.close("stopped")
        while (event := core.next_event()) is not None:
            if isinstance(event, Closing) and connection.ending is None:
                connection.ending = event.ending
        connection.other_protocol, connection.refusal = core.other_protocol, core.refusal
        try:
            await self._release()
        finally:
            await self._close_channel(finished=finished)
            await self._closed()

    async def _close_channel(self, *, finished: bool) -> None:
        if finished:
            with suppress(OSError):
                if octets := self._core.octets_to_send():
                    await self._channel.send(octets, anyio.current_time() + _LAST_SEND_TIMEOUT)
                if self.connection.ending != "quit":
                    await self._channel.close_gracefully()
        self._channel.close()
