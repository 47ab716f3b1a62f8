"""A server's session with one client, for any protocol: TLS, deadlines, and an end that loses no reply.

A protocol's session adds its core, and a handler for each of the core's events.
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
from mailslot.wire.server_core import TurnEnded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mailslot.net.accepted import AcceptedConnection
    from mailslot.net.sign_in_delay import SignInDelay
    from mailslot.wire.closing import Ending
    from mailslot.wire.reply import Reply
    from mailslot.wire.server_core import Wording

logger = logging.getLogger(__name__)

MAX_FAILED_SIGN_INS: Final = 3
"""Failed sign-ins after which the next attempt ends the connection."""

_LAST_SEND_TIMEOUT: Final = 5.0
"""Seconds to wait for a client to receive the last replies."""

FLUSH_AT: Final = 16_384
"""Octets of replies that are collected while commands are in the buffer."""


class ConnectionLostError(Exception):
    """The connection broke, was closed by the client, or timed out; `__cause__` has the error."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The settings of a server's sessions.

    Attributes:
        host: our own host name, for the greeting.
        security: how connections are encrypted. Passwords without TLS are accepted only with ``NONE``.
        tls_context: returns the context for the next handshake; None without TLS.
        idle_timeout: seconds within which a command must be complete and a message must make progress.
        tls_timeout: seconds for a handshake.
        rejected_timeout: seconds for which a client is served after a refusing greeting.
        slow_message_time: seconds that any message may take.
        slowest_rate: the minimum octets per second of a message that takes longer.
        wording: replacements for the server's replies; None without any.
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
    """The last replies of a protocol before a connection is closed.

    Attributes:
        idle: after a timeout; None to send none.
        stopping: when the server stops.
        internal_error: after a failure of the backend.
        out_of_sync: if octets came before the reply to the command that starts TLS.
        too_many_failures: after too many failed sign-ins.
    """

    idle: Reply | None
    stopping: Reply
    internal_error: Reply
    out_of_sync: Reply
    too_many_failures: Reply


class ServerProtocol(Protocol):
    """The interface of the protocols' cores, without I/O."""

    encrypted: bool
    other_protocol: str | None
    refusal: Reply | None

    @property
    def is_idle(self) -> bool:
        """Whether the session is between transactions, so that it may be ended."""
        ...

    def receive(self, data: bytes) -> None:
        """Take octets from the client."""
        ...

    def next_event(self) -> object | None:
        """Return the next event; None if more octets are needed, or the session is over."""
        ...

    def reply(self, reply: Reply | None = None) -> None:
        """Reply to the last event: accept it (None), or refuse it with a reply."""
        ...

    def octets_to_send(self, at_least: int = 1) -> bytes:
        """Return and remove the octets to send; none if there are less than `at_least`."""
        ...

    def tls_started(self) -> None:
        """Reset the state after the TLS handshake (RFC 3207 section 4.2)."""
        ...

    def close(self, ending: Ending, reply: Reply | None = None) -> None:
        """End the session, with an optional last reply."""
        ...


Core = TypeVar("Core", bound=ServerProtocol)
Connection = TypeVar("Connection", bound=ServerConnection)


class ServerSession(ABC, Generic[Core, Connection]):
    """A session, from the accepted connection to its end.

    Attributes:
        connection: the client's connection.
    """

    replies: ClassVar[EndingReplies]
    reactions: ClassVar[Mapping[type, Callable[[Any, Any], Awaitable[None]]]]
    """The handler of each kind of event."""

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

    # To be implemented for each protocol.

    @abstractmethod
    async def _greet(self) -> bool:
        """Send the greeting, which may be a refusal; return whether it is positive."""

    @abstractmethod
    async def _release(self) -> None:
        """Release the session's resources. Called at its end, shielded from cancellation."""

    @abstractmethod
    async def _closed(self) -> None:
        """Notify the backend that the connection has ended."""

    @property
    def _idle_timeout(self) -> float:
        return self._settings.idle_timeout

    def _next_deadline(self) -> float:
        """Return the deadline for the next octets."""
        return self._deadline

    # The session.

    async def run(self) -> None:
        """Serve the client until either side ends the session. Errors of the backend are logged."""
        finished = False
        try:
            await self._start()
            await self._converse()
            finished = True
        except TlsHandshakeError as error:
            self.connection.transcript.event(f"TLS failed: {error}")
            self._core.close("tls")
            # The TLS alert with the reason must reach the client.
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
        """End the session as soon as it is idle."""
        self._stopping = True
        if self._receiving and self._core.is_idle:
            self._channel.interrupt()

    def _backend_failed(self, error: Exception) -> None:
        logger.error("The backend of the listener %s failed", self.connection.peer.listener, exc_info=error)

    def _record_loss(self, error: BaseException | None) -> None:
        connection = self.connection
        if isinstance(error, ssl.SSLError):
            # For example, in TLS 1.3 the alert of a client that does not trust our certificate comes late.
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
                if isinstance(event, TurnEnded):
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
        """Send the collected replies. Each one restarts the client's time for the next command."""
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
                # The system's own timeout, for a dead connection.
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

    # For the commands of every protocol.

    def _forget_client(self) -> None:
        """Discard knowledge about the client from before TLS (RFC 3207 section 4.2)."""
        self.connection.user = None

    async def upgrade(self, _event: object) -> None:
        """Start TLS after STARTTLS or STLS."""
        if self._channel.has_pending_octets():
            # Octets sent before our reply could be mistaken for octets received inside TLS (RFC 3207 section 6).
            self._core.close("protocol", self.replies.out_of_sync)
            return
        self._core.reply()
        await self._flush()
        await self._start_tls()
        self._core.tls_started()
        self._forget_client()

    def _may_sign_in(self, user: str, mechanism: str | None = None) -> bool:
        """Record a sign-in attempt; after too many failures, end the session and return False."""
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
        """Release resources, send the last replies, close, and notify the backend.

        Args:
            finished: whether to send the last replies; otherwise the connection is closed at once.
        """
        connection, core = self.connection, self._core
        # If it is not closed yet, the session was cancelled.
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
