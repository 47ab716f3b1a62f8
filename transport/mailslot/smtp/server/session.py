"""One SMTP session with a client: the core, its connection, and the backend that decides and stores."""

from __future__ import annotations

import logging
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import anyio

from mailslot.net.accepted import TlsHandshakeError, tls_error_reason
from mailslot.net.endpoint import Security
from mailslot.net.socket_stream import InterruptedWaitError
from mailslot.smtp.server import events, replies
from mailslot.smtp.server.backend import Connection
from mailslot.smtp.server.offers import Offers
from mailslot.smtp.server.protocol import SmtpServerProtocol
from mailslot.smtp.server.states import State
from mailslot.wire.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mailslot.net.accepted import AcceptedConnection
    from mailslot.net.sign_in_delay import SignInDelay
    from mailslot.smtp.server.backend import Backend, MessageWriter

logger = logging.getLogger(__name__)

MAX_FAILED_SIGN_INS: Final = 3
"""Failed sign-ins after which the next one ends the connection."""

_LAST_SEND_TIMEOUT: Final = 5.0
"""Seconds to wait for a client that does not take the last replies."""

_FLUSH_AT: Final = 16_384
"""Octets of replies that may collect while commands are taken from the buffer."""


class _ConnectionLostError(Exception):
    """The connection broke, was closed by the client, or stood still; `__cause__` has the error."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How an SMTP server speaks with its clients.

    Attributes:
        host: our own name, in the greeting.
        security: whether TLS comes first, by STARTTLS or not at all. Passwords are taken in clear only with ``NONE``.
        tls_context: returns the context for the next handshake; None without TLS.
        obsolete_auth_line: whether EHLO also offers ``AUTH=``, for clients of the nineties.
        idle_timeout: seconds in which a command must be complete, and in which some octets of a message must come.
        tls_timeout: seconds for a handshake.
        rejected_timeout: seconds for which a client is heard that was refused instead of greeted.
        slow_message_time: seconds that a message may take in any case.
        slowest_rate: octets a second at which it must have come if it takes longer.
    """

    host: str
    security: Security
    tls_context: Callable[[], ssl.SSLContext] | None = None
    obsolete_auth_line: bool = False
    idle_timeout: float = 300.0
    tls_timeout: float = 60.0
    rejected_timeout: float = 10.0
    slow_message_time: float = 3_600.0
    slowest_rate: float = 500.0


class SmtpServerSession:
    """A session, from the accepted connection to its end."""

    def __init__(
        self, channel: AcceptedConnection, settings: SessionSettings, backend: Backend, delay: SignInDelay
    ) -> None:
        """Begin a session; `run` leads it."""
        self._channel = channel
        self._settings = settings
        self._delay = delay
        self.connection = Connection(channel.peer, time.time())
        self._handler = backend.connected(self.connection)
        self._offers = Offers(
            settings.host,
            tls=settings.security is Security.STARTTLS,
            clear_text_passwords=settings.security is Security.NONE,
            obsolete_auth_line=settings.obsolete_auth_line,
        )
        self._core = SmtpServerProtocol(self._offers, self.connection.transcript)
        self._writer: MessageWriter | None = None
        self._storage_failed = False
        self._failed_sign_ins = 0
        self._stopping = False
        self._deadline = 0.0
        self._receiving = False
        self._content_began: float | None = None
        self._content_octets = 0

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
        except _ConnectionLostError as error:
            self._record_loss(error.__cause__)
        except Exception:
            logger.exception("The backend of the listener %s failed", self.connection.peer.listener)
            self._core.close("error", replies.INTERNAL_ERROR)
            finished = True
        finally:
            with anyio.CancelScope(shield=True):
                await self._end(finished=finished)

    def stop(self) -> None:
        """End the session between transactions: now, or once the present one is over."""
        self._stopping = True
        if self._receiving and self._core.is_idle:
            self._channel.interrupt()

    def _record_loss(self, error: BaseException | None) -> None:
        if isinstance(error, ssl.SSLError):
            # Such as an alert by a client that does not trust our certificate, which comes late in TLS 1.3.
            self.connection.peer.tls_error = tls_error_reason(error)
            self.connection.transcript.event(f"TLS failed: {self.connection.peer.tls_error}")
        elif isinstance(error, TimeoutError) and error.errno is None:
            self.connection.transcript.event("the client does not read the replies")
            self._core.close("idle")
        else:
            self.connection.transcript.event("the client has closed the connection")
        self._core.close("closed")

    async def _start(self) -> None:
        settings = self._settings
        if settings.security is Security.TLS:
            await self._start_tls()
            self._core.encrypted = True
            self.connection.transcript.event("encrypted from here on")
        refusal = await self._handler.accept()
        self._core.greet(refusal)
        self._deadline = anyio.current_time() + (
            settings.idle_timeout if refusal is None else settings.rejected_timeout
        )

    async def _start_tls(self) -> None:
        assert self._settings.tls_context is not None  # noqa: S101 - else TLS would not be offered
        deadline = anyio.current_time() + self._settings.tls_timeout
        await self._channel.start_tls(self._settings.tls_context(), deadline)

    async def _converse(self) -> None:
        core = self._core
        while True:
            while (event := core.next_event()) is not None:
                if isinstance(event, events.Closing):
                    self.connection.ending = event.ending
                    return
                await self._REACTIONS[type(event)](self, event)
                await self._flush(at_least=_FLUSH_AT)
            await self._flush()
            if self._stopping and core.is_idle:
                core.close("stopped", replies.STOPPING)
            else:
                await self._receive()

    async def _flush(self, at_least: int = 1) -> None:
        """Send the replies that have collected. Each gives the client new time for its next command."""
        octets = self._core.octets_to_send(at_least)
        if not octets:
            return
        deadline = anyio.current_time() + self._settings.idle_timeout
        if self._core.state is not State.REJECTED:
            self._deadline = deadline
        try:
            await self._channel.send(octets, deadline)
        except OSError as error:
            raise _ConnectionLostError from error

    async def _receive(self) -> None:
        deadline = self._next_deadline()
        self._receiving = True
        try:
            data = await self._channel.receive(deadline)
        except TimeoutError as error:
            if error.errno is not None:
                # The system's own, for a connection that is dead.
                raise _ConnectionLostError from error
            self._core.close("idle", replies.IDLE_TOO_LONG)
        except InterruptedWaitError:
            return
        except (OSError, EOFError) as error:
            raise _ConnectionLostError from error
        else:
            self._content_octets += len(data)
            self._core.receive(data)
        finally:
            self._receiving = False

    def _next_deadline(self) -> float:
        """Return until when to wait for octets.

        A command must be complete in time, but a message may come slowly: as long as there is progress, though not
        forever, which an octet a second would mean.
        """
        if not self._core.expects_content:
            self._content_began = None
            return self._deadline
        settings, now = self._settings, anyio.current_time()
        if self._content_began is None:
            self._content_began, self._content_octets = now, 0
        longest = settings.slow_message_time + self._content_octets / settings.slowest_rate
        return min(now + settings.idle_timeout, self._content_began + longest)

    # Events.

    async def _mail(self, event: events.Mail) -> None:
        self._core.reply(await self._handler.mail(event.sender, event.parameters))

    async def _recipient(self, event: events.Recipient) -> None:
        self._core.reply(await self._handler.recipient(event.address))

    async def _hello(self, event: events.Hello) -> None:
        self.connection.hello, self.connection.esmtp = event.name, event.esmtp
        if self._core.reply_due:
            self._refresh_offers()
            self._core.reply()

    def _refresh_offers(self) -> None:
        self._offers.max_size = self._handler.max_size
        self._offers.authentication = self._handler.offers_authentication

    async def _upgrade(self, _event: events.StartTls) -> None:
        if self._channel.has_pending_octets():
            # Sent before our reply: they could be mistaken for octets received inside TLS (RFC 3207 section 6).
            self._core.close("protocol", replies.OUT_OF_SYNC)
            return
        self._core.reply()
        await self._flush()
        await self._start_tls()
        self._core.tls_started()
        self.connection.hello = self.connection.user = None
        self.connection.esmtp = False

    async def _authenticate(self, credentials: events.Credentials) -> None:
        self.connection.tried_user = credentials.user
        if self._failed_sign_ins >= MAX_FAILED_SIGN_INS:
            self._core.reply(replies.TOO_MANY_FAILURES)
            return
        refusal = await self._handler.authenticate(credentials.user, credentials.password)
        if refusal is None:
            self._delay.succeeded(self.connection.peer.address)
            self.connection.user = credentials.user
            self._refresh_offers()
        elif (refusal.code or 0) >= 500:
            self._failed_sign_ins += 1
            await anyio.sleep(self._delay.failed(self.connection.peer.address))
        self._core.reply(refusal)

    # The message.

    async def _begin(self, _event: events.Begin) -> None:
        begun = await self._handler.begin()
        if isinstance(begun, Reply):
            self._core.reply(begun)
            return
        self._writer = begun
        self._storage_failed = False
        self._core.reply()

    async def _write(self, event: events.Content) -> None:
        if self._writer is not None:
            try:
                await self._writer.write(event.data)
            except OSError as error:
                self._note_storage_error(error)
                await self._discard()

    async def _chunk_received(self, _event: events.ChunkReceived) -> None:
        self._core.reply(replies.SPOOL_FULL if self._storage_failed else None)

    async def _end_message(self, _event: events.EndOfMessage) -> None:
        writer, self._writer = self._writer, None
        reply = replies.SPOOL_FULL
        if writer is not None:
            try:
                result = await writer.commit()
            except OSError as error:
                self._note_storage_error(error)
            else:
                reply = result if isinstance(result, Reply) else replies.queued_as(result)
        self._core.reply(reply)

    def _note_storage_error(self, error: OSError) -> None:
        self._storage_failed = True
        self.connection.transcript.event(f"the message could not be stored: {error.strerror or error}")

    async def _discard(self, _event: events.Aborted | None = None) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with anyio.CancelScope(shield=True):
                await writer.discard()

    _REACTIONS: ClassVar[Mapping[type, Callable[[Any, Any], Awaitable[None]]]] = {
        events.Hello: _hello,
        events.StartTls: _upgrade,
        events.Credentials: _authenticate,
        events.Mail: _mail,
        events.Recipient: _recipient,
        events.Begin: _begin,
        events.Content: _write,
        events.ChunkReceived: _chunk_received,
        events.EndOfMessage: _end_message,
        events.Aborted: _discard,
    }

    # The end.

    async def _end(self, *, finished: bool) -> None:
        """Discard what was not stored, send the last replies, close, and tell the backend.

        Args:
            finished: whether the client should get the last replies; else the connection is closed at once.
        """
        # Unless it is closed already, this was cancelled.
        self._core.close("stopped")
        while (event := self._core.next_event()) is not None:
            if isinstance(event, events.Closing) and self.connection.ending is None:
                self.connection.ending = event.ending
        self.connection.other_protocol = self._core.other_protocol
        try:
            await self._discard()
        finally:
            await self._close_channel(finished=finished)
            await self._handler.closed()

    async def _close_channel(self, *, finished: bool) -> None:
        if finished:
            with suppress(OSError):
                if octets := self._core.octets_to_send():
                    await self._channel.send(octets, anyio.current_time() + _LAST_SEND_TIMEOUT)
                if self.connection.ending != "quit":
                    await self._channel.close_gracefully()
        self._channel.close()
