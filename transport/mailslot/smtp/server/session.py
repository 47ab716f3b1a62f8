"""An SMTP server's session: connects the protocol core, the client's connection, and the backend."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import anyio

from mailslot.net.endpoint import Security
from mailslot.net.server_session import EndingReplies, ServerSession, ServerSettings
from mailslot.smtp.server import events, replies
from mailslot.smtp.server.backend import Connection
from mailslot.smtp.server.offers import Offers
from mailslot.smtp.server.protocol import SmtpServerProtocol
from mailslot.wire.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mailslot.net.accepted import AcceptedConnection
    from mailslot.net.sign_in_delay import SignInDelay
    from mailslot.smtp.server.backend import Backend, MessageWriter


@dataclass(frozen=True, slots=True)
class SessionSettings(ServerSettings):
    """The settings of an SMTP server's sessions.

    Attributes:
        obsolete_auth_line: whether EHLO also offers ``AUTH=``, for clients of the nineties.
    """

    obsolete_auth_line: bool = False


class SmtpServerSession(ServerSession[SmtpServerProtocol, Connection]):
    """A session with one client; it can be stopped between transactions."""

    replies = EndingReplies(
        idle=replies.IDLE_TOO_LONG,
        stopping=replies.STOPPING,
        internal_error=replies.INTERNAL_ERROR,
        out_of_sync=replies.OUT_OF_SYNC,
        too_many_failures=replies.TOO_MANY_FAILURES,
    )

    def __init__(
        self,
        channel: AcceptedConnection,
        settings: SessionSettings,
        backend: Backend,
        delay: SignInDelay,
        offers: Offers | None = None,
    ) -> None:
        """Create a session; `run` runs it.

        Args:
            channel: the connection.
            settings: its settings.
            backend: decides about clients and messages, and stores messages.
            delay: delays refused sign-ins.
            offers: the extensions to offer; None for those of the settings.
        """
        connection = Connection(channel.peer, time.time())
        self._handler = backend.connected(connection)
        self._offers = offers or Offers(
            settings.host,
            tls=settings.security is Security.STARTTLS,
            clear_text_passwords=settings.security is Security.NONE,
            obsolete_auth_line=settings.obsolete_auth_line,
        )
        core = SmtpServerProtocol(self._offers, connection.transcript, wording=settings.wording)
        super().__init__(channel, settings, connection, core, delay)
        self._writer: MessageWriter | None = None
        self._storage_failed = False
        self._content_began: float | None = None
        self._content_octets = 0

    async def _greet(self) -> bool:
        greeting = await self._handler.accept()
        self._core.greet(greeting)
        return greeting is None or greeting.positive

    def _received(self, data: bytes) -> None:
        self._content_octets += len(data)
        super()._received(data)

    def _next_deadline(self) -> float:
        """Return the deadline for the next octets.

        A command must be complete in time. A message may come slowly as long as it makes progress, but not at any rate:
        one octet per second would take forever.
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
        refusal = await self._handler.mail(event.sender, event.parameters)
        # The backend may have identified the device only now.
        self._refresh_offers()
        self._core.reply(refusal)

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

    def _forget_client(self) -> None:
        super()._forget_client()
        self.connection.hello = None
        self.connection.esmtp = False

    async def _authenticate(self, credentials: events.Credentials) -> None:
        user = credentials.user
        if not self._may_sign_in(user, credentials.mechanism):
            return
        refusal = await self._handler.authenticate(user, credentials.secret)
        if refusal is None:
            self._signed_in(user)
            self._refresh_offers()
        elif (refusal.code or 0) >= 500:
            await self._sign_in_failed()
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

    reactions: ClassVar[Mapping[type, Callable[[Any, Any], Awaitable[None]]]] = {
        events.Hello: _hello,
        events.StartTls: ServerSession[SmtpServerProtocol, Connection].upgrade,
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

    async def _release(self) -> None:
        await self._discard()

    async def _closed(self) -> None:
        await self._handler.closed()
