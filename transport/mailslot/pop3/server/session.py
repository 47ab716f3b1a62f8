"""A POP3 server's session: connects the protocol core, the client's connection, and the backend."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import anyio

from mailslot.net.endpoint import Security
from mailslot.net.server_connection import ServerConnection
from mailslot.net.server_session import FLUSH_AT, EndingReplies, ServerSession, ServerSettings
from mailslot.pop3.server import events, replies
from mailslot.pop3.server.offers import Offers
from mailslot.pop3.server.protocol import Pop3ServerProtocol
from mailslot.wire.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mailslot.net.accepted import AcceptedConnection
    from mailslot.net.sign_in_delay import SignInDelay
    from mailslot.pop3.server.backend import Backend, Maildrop, MessageReader


@dataclass(frozen=True, slots=True)
class SessionSettings(ServerSettings):
    """The settings of a POP3 server's sessions.

    Attributes:
        signed_in_timeout: seconds within which a command must be complete after the sign-in, at least ten minutes
            (RFC 1939 section 3); before that, it is `idle_timeout`.
    """

    signed_in_timeout: float = 600.0


class Pop3ServerSession(ServerSession[Pop3ServerProtocol, ServerConnection]):
    """A session with one client; it can be stopped as long as nothing has been fetched."""

    replies = EndingReplies(
        # RFC 1939 section 3: the connection is closed without a response.
        idle=None,
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
            backend: signs clients in, and provides maildrops.
            delay: delays refused sign-ins.
            offers: the capabilities; None for those of the settings.
        """
        connection = ServerConnection(channel.peer, time.time())
        self._handler = backend.connected(connection)
        self._signed_in_timeout = settings.signed_in_timeout
        self._maildrop: Maildrop | None = None
        offers = offers or Offers(
            tls=settings.security is Security.STARTTLS, clear_text_passwords=settings.security is Security.NONE
        )
        core = Pop3ServerProtocol(offers, connection.transcript, wording=settings.wording)
        super().__init__(channel, settings, connection, core, delay)

    async def _greet(self) -> bool:
        # No other greeting ever has the same timestamp (RFC 1939 section 7).
        timestamp = f"<{secrets.token_hex(8)}.{int(time.time())}@{self._settings.host}>"
        self._core.greet(timestamp if await self._handler.offers_apop() else "")
        return True

    @property
    def _idle_timeout(self) -> float:
        return super()._idle_timeout if self._maildrop is None else self._signed_in_timeout

    async def _receive(self) -> None:
        await super()._receive()
        if self._maildrop is not None and (refusal := await self._handler.check()) is not None:
            self._core.close("revoked", refusal)

    # Events.

    async def _authenticate(self, event: events.Credentials) -> None:
        if self._may_sign_in(event.user, event.mechanism):
            await self._sign_in(event.user, await self._handler.authenticate(event.user, event.secret))

    async def _authenticate_apop(self, event: events.ApopDigest) -> None:
        if self._may_sign_in(event.user):
            opened = await self._handler.authenticate_apop(event.user, event.timestamp, event.digest)
            await self._sign_in(event.user, opened)

    async def _sign_in(self, user: str, opened: Maildrop | Reply) -> None:
        if not isinstance(opened, Reply):
            self._maildrop = opened
            self._signed_in(user)
            self._core.open_maildrop(opened.messages)
            return
        if opened.enhanced == "AUTH":
            await self._sign_in_failed()
        self._core.reply(opened)

    async def _retrieve(self, event: events.Retrieve) -> None:
        maildrop = self._opened()
        try:
            async with maildrop.open(event.message) as reader:
                self._core.reply()
                await self._send_message(reader)
        except OSError as error:
            self._note_storage_error(error)
            if not self._core.reply_due:
                # Without its end, the client does not take the message for complete.
                self._core.close("error")
                return
            self._core.reply(replies.UNREADABLE)
        else:
            self._core.end_content()
            if event.whole:
                maildrop.note_retrieved(event.message)

    async def _send_message(self, reader: MessageReader) -> None:
        """Send a message in pieces, except the last one. It may be slow, but not forever."""
        settings, began, octets = self._settings, anyio.current_time(), 0
        while piece := await reader.read():
            wanted = self._core.send_content(piece)
            if data := self._core.octets_to_send(FLUSH_AT):
                octets += len(data)
                longest = settings.slow_message_time + octets / settings.slowest_rate
                await self._send(data, min(anyio.current_time() + settings.idle_timeout, began + longest))
            if not wanted:
                return

    async def _update(self, event: events.Update) -> None:
        try:
            await self._opened().delete(event.deleted)
        except OSError as error:
            self._note_storage_error(error)
            self._core.reply(replies.NOT_DELETED)
        else:
            self._core.reply()

    def _opened(self) -> Maildrop:
        assert self._maildrop is not None  # noqa: S101 - the core reports such events after a sign-in
        return self._maildrop

    def _note_storage_error(self, error: OSError) -> None:
        self.connection.transcript.event(f"the spool cannot be used: {error.strerror or error}")

    reactions: ClassVar[Mapping[type, Callable[[Any, Any], Awaitable[None]]]] = {
        events.StartTls: ServerSession[Pop3ServerProtocol, ServerConnection].upgrade,
        events.Credentials: _authenticate,
        events.ApopDigest: _authenticate_apop,
        events.Retrieve: _retrieve,
        events.Update: _update,
    }

    # The end.

    async def _release(self) -> None:
        maildrop, self._maildrop = self._maildrop, None
        if maildrop is not None:
            maildrop.release()

    async def _closed(self) -> None:
        await self._handler.closed()
