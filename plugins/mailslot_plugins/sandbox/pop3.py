"""The sandbox's POP3 server: the library's, with the offers and the words of a personality."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.net.server_connection import ServerConnection
from mailslot.pop3.server import replies
from mailslot.pop3.server.maildrop import Message
from mailslot.pop3.server.offers import Offers
from mailslot.pop3.server.protocol import Pop3ServerProtocol
from mailslot.pop3.server.session import Pop3ServerSession
from mailslot_plugins.sandbox.authentication import Authenticator, SignInRefusals
from mailslot_plugins.sandbox.personality import (
    INITIAL_RESPONSE,
    LOGIN_DELAY,
    POP3_RESPONSE_TOO_LONG,
    POP3_TOKEN_REFUSED,
)
from mailslot_plugins.sandbox.played_session import PlayedSession

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from mailslot.wire.reply import Reply
    from mailslot.wire.secret import Secret
    from mailslot_plugins.sandbox.maildrop import Maildrop
    from mailslot_plugins.sandbox.state import SandboxState

_CHUNK_SIZE: Final = 65_536
_REFUSALS: Final = SignInRefusals(replies.AUTHENTICATION_FAILED, POP3_TOKEN_REFUSED, replies.UNAVAILABLE)


class PersonalOffers(Offers):
    """The capabilities of the personality."""

    def __init__(self, state: SandboxState) -> None:
        """Make the offers for one client."""
        self._behavior = behavior = state.personality.pop3
        super().__init__("STLS" in behavior.capabilities, not state.personality.tls_required)

    def capabilities(self, *, encrypted: bool, signed_in: bool) -> list[str]:
        """Return the personality's lines."""
        behavior = self._behavior
        before = behavior.capabilities_tls if encrypted else behavior.capabilities
        return list(behavior.capabilities_authenticated if signed_in else before)


class OpenMaildrop:
    """A maildrop, exclusively for one session, with the interface of the library's sessions."""

    def __init__(self, maildrop: Maildrop, connection: ServerConnection, *, retrieving_removes: bool) -> None:
        """Open a maildrop."""
        self._maildrop = maildrop
        self._stored = list(maildrop.messages)
        self._connection = connection
        self._retrieving_removes = retrieving_removes
        self._retrieved: list[Message] = []
        self.messages: Sequence[Message] = [
            Message(at, stored.uid, stored.size) for at, stored in enumerate(self._stored)
        ]
        maildrop.locked = True

    @asynccontextmanager
    async def open(self, message: Message) -> AsyncGenerator[StoredReader]:
        """Open a message."""
        yield StoredReader(self._stored[message.id].content)

    def note_retrieved(self, message: Message) -> None:
        """Record that a message was read completely."""
        self._retrieved.append(message)

    async def delete(self, messages: Sequence[Message]) -> None:
        """Delete messages."""
        self._maildrop.remove(self._stored[message.id] for message in messages)

    def release(self) -> None:
        """Make the maildrop available to other sessions; with Gmail's personality, retrieved messages are removed."""
        if self._retrieving_removes and self._connection.ending == "quit":
            self._maildrop.remove(self._stored[message.id] for message in self._retrieved)
        self._maildrop.locked = False


class StoredReader:
    """Reads a message from its beginning."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    async def read(self) -> bytes:
        """Return the next octets; none at the end."""
        piece = self._content[self._at : self._at + _CHUNK_SIZE]
        self._at += len(piece)
        return piece


class Pop3Client:
    """The library's backend, and its handler, for one client."""

    authenticator: Authenticator
    """Signs it in; set once it is connected."""

    def __init__(self, state: SandboxState) -> None:
        """Make the backend of one client."""
        self._state = state
        self.offers = PersonalOffers(state)

    def connected(self, connection: ServerConnection) -> Pop3Client:
        """Record the connection."""
        dialogue = self._state.open_dialogue("pop3", connection)
        self.authenticator = Authenticator(self._state, self._state.personality.pop3, dialogue, _REFUSALS)
        self.offers.mechanisms = self.authenticator.mechanisms
        return self

    async def offers_apop(self) -> bool:
        """No service has it."""
        return False

    async def authenticate(self, user: str, password: Secret) -> OpenMaildrop | Reply:
        """Check a password or a token, and open the user's maildrop."""
        refusal = await self.authenticator.sign_in(user, password)
        if refusal is not None:
            return refusal
        maildrop, now = self._state.maildrops[user.lower()], anyio.current_time()
        personality = self._state.personality
        if maildrop.locked:
            return replies.IN_USE
        if now < maildrop.last_sign_in + personality.login_delay:
            return LOGIN_DELAY
        maildrop.last_sign_in = now
        connection = self.authenticator.connection
        return OpenMaildrop(maildrop, connection, retrieving_removes=personality.retrieving_removes)

    async def authenticate_apop(self, user: str, timestamp: str, digest: str) -> Reply:  # noqa: ARG002 - see offers_apop
        """Refuse."""
        return replies.AUTHENTICATION_FAILED

    async def check(self) -> None:
        """Accept every client."""

    async def closed(self) -> None:
        """The connection has ended."""


class PlayedPop3Session(PlayedSession[Pop3ServerProtocol, ServerConnection], Pop3ServerSession):
    """A session that plays a personality."""

    _not_crlf = replies.error("A line must end with CRLF")
    _response_too_long = POP3_RESPONSE_TOO_LONG

    async def _greet(self) -> bool:
        await self._begin_moment("greeting")
        return await super()._greet()

    def _pipelines(self, verb: str) -> bool:
        if verb in {"AUTH", "STLS"}:
            return False
        signed_in = self._maildrop is not None
        encrypted = self.authenticator.dialogue.tls
        return "PIPELINING" in self._core.offers.capabilities(encrypted=encrypted, signed_in=signed_in)

    def _inspect(self, line: bytes, verb: str) -> Reply | None:
        behavior = self.authenticator.behavior
        if len(line) + 2 > behavior.line_limit:
            return replies.LINE_TOO_LONG
        has_initial = verb == "AUTH" and len(line.split(b" ", 2)) > 2
        return INITIAL_RESPONSE if has_initial and not behavior.initial_response else None
