"""What a POP3 server hands its connections to: who may sign in, and the maildrops, behind a few small protocols.

The session speaks POP3 and calls a `ConnectionHandler` to sign a client in, which opens a `Maildrop`. The calls for one
connection come one at a time, in the order of the dialogue.

An exception ends the connection with ``-ERR [SYS/TEMP]`` and is logged; `OSError` from a `Maildrop` only refuses the
command, with the same response code, as far as that is possible.
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
    """Makes a handler for each connection."""

    def connected(self, connection: ServerConnection) -> ConnectionHandler:
        """Return the handler of a new connection. Nothing has been sent, and no TLS handshake been made yet.

        This must not block, and must not raise.
        """
        ...


class ConnectionHandler(Protocol):
    """Decides on one connection; made by a `Backend`.

    It keeps the `ServerConnection` that it was made for and reads there what becomes known later, such as TLS and the
    client's certificate.
    """

    async def offers_apop(self) -> bool:
        """Tell whether somebody may sign in with APOP here. Called once, before the greeting."""
        ...

    async def authenticate(self, user: str, password: Secret) -> Maildrop | Reply:
        """Sign a user in, and open his maildrop.

        Where the session was told to offer SASL mechanisms, `ServerConnection.mechanism` says whether this is a token.

        A refusal is ``-ERR [AUTH]``, the same for unknown users; ``-ERR [IN-USE]``; or ``-ERR [SYS/TEMP]``. The
        session delays the first one, counts failures and sets `ServerConnection.user`.
        """
        ...

    async def authenticate_apop(self, user: str, timestamp: str, digest: str) -> Maildrop | Reply:
        """Sign a user in by a digest, and open his maildrop; else as `authenticate`.

        Args:
            user: the user.
            timestamp: that of the greeting, with its brackets.
            digest: in lower-case hexadecimal: MD5 of the timestamp and the password (RFC 1939 section 7).
        """
        ...

    async def check(self) -> Reply | None:
        """Return why a client that has signed in must sign in again, such as with a new password; None to go on.

        Called before the commands that it has sent are answered. The session ends with the reply, and deletes nothing.
        """
        ...

    async def closed(self) -> None:
        """The connection has ended; `ServerConnection.ending` says how. Called once, shielded from cancellation."""
        ...


class Maildrop(Protocol):
    """A maildrop that one session has for itself."""

    @property
    def messages(self) -> Sequence[Message]:
        """Its messages, oldest first; they do not change during the session."""
        ...

    def open(self, message: Message) -> AbstractAsyncContextManager[MessageReader]:
        """Open a message, to be used with ``async with``.

        Raises:
            OSError: it cannot be read; on entering.
        """
        ...

    def note_retrieved(self, message: Message) -> None:
        """Note that a message was read whole; whether it has arrived is not known."""
        ...

    async def delete(self, messages: Sequence[Message]) -> None:
        """Delete messages, all or none. Once this returns, that is on the disk.

        Raises:
            OSError: nothing is deleted.
        """
        ...

    def release(self) -> None:
        """Let other sessions have the maildrop. Called once, at the end of the session, however that comes."""
        ...


class MessageReader(Protocol):
    """Reads a message from its beginning."""

    async def read(self) -> bytes:
        """Return the next octets, at most 64 KiB or so; none at the end.

        Raises:
            OSError: they cannot be read.
        """
        ...
