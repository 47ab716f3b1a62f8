"""The interface of a POP3 server's backend, which signs clients in and provides maildrops.

The session speaks POP3 and calls a `ConnectionHandler` to sign a client in, which opens a `Maildrop`. The calls for a
connection come one at a time, in the order of the dialogue.

An exception ends the connection with ``-ERR [SYS/TEMP]`` and is logged; `OSError` from a `Maildrop` only refuses the
command, if possible, with the same response code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from mailslot.net.server_connection import ServerConnection
    from mailslot.pop3.server.maildrop import Message
    from mailslot.wire.reply import Reply
    from mailslot.wire.secret import Secret


class Backend(Protocol):
    """Creates a handler for each connection."""

    def connected(self, connection: ServerConnection) -> ConnectionHandler:
        """Return the handler of a new connection, before anything is sent and before the TLS handshake.

        This must not block, and must not raise.
        """
        ...


class ConnectionHandler(Protocol):
    """Signs in the client of one connection; created by a `Backend`.

    It keeps its `ServerConnection`, from which it gets what becomes known later, such as the client's certificate.
    """

    async def offers_apop(self) -> bool:
        """Return whether to offer APOP. Called once, before the greeting."""
        ...

    async def authenticate(self, user: str, password: Secret) -> Maildrop | Reply:
        """Sign a user in, and open the user's maildrop.

        If the session offers SASL mechanisms, `ServerConnection.mechanism` shows whether this is a token.

        A refusal is ``-ERR [AUTH]``, the same for unknown users; ``-ERR [IN-USE]``; or ``-ERR [SYS/TEMP]``. The
        session delays the first one, counts failures and sets `ServerConnection.user`.
        """
        ...

    async def authenticate_apop(self, user: str, timestamp: str, digest: str) -> Maildrop | Reply:
        """Sign a user in by a digest, and open the user's maildrop; otherwise like `authenticate`.

        Args:
            user: the user.
            timestamp: the greeting's timestamp, with its brackets.
            digest: the MD5 digest of the timestamp and the password, in lower-case hexadecimal (RFC 1939 section 7).
        """
        ...

    async def check(self) -> Reply | None:
        """Return why a signed-in client must sign in again, for example because of a new password; None to continue.

        Called before its pipelined commands are answered. The session ends with the reply, and deletes nothing.
        """
        ...

    async def closed(self) -> None:
        """Called once when the connection has ended, shielded from cancellation; `ServerConnection.ending` says how."""
        ...


class Maildrop(Protocol):
    """A maildrop, exclusively for one session."""

    @property
    def messages(self) -> Sequence[Message]:
        """Its messages, oldest first; they do not change during the session."""
        ...

    def open(self, message: Message) -> AbstractAsyncContextManager[MessageReader]:
        """Open a message, to be used with ``async with``.

        Raises:
            OSError: on entering, it cannot be read.
        """
        ...

    def note_retrieved(self, message: Message) -> None:
        """Record that a message was read completely; whether it has arrived is not known."""
        ...

    async def delete(self, messages: Sequence[Message]) -> None:
        """Delete all of these messages, or none; durable once this returns.

        Raises:
            OSError: nothing is deleted.
        """
        ...

    def release(self) -> None:
        """Make the maildrop available to other sessions. Called once, at any end of the session."""
        ...


class MessageReader(Protocol):
    """Reads a message from its beginning."""

    async def read(self) -> bytes:
        """Return the next octets, at most about 64 KiB; none at the end.

        Raises:
            OSError: they cannot be read.
        """
        ...
