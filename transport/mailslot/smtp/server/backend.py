"""The interface of an SMTP server's backend, which decides about clients and stores messages; after go-smtp.

The session speaks SMTP and calls a `ConnectionHandler` for each decision. A decision is None to accept, or the reply
that refuses; `mailslot.smtp.server.replies` has the common ones. A refusal with code 421 also ends the connection. The
calls for a connection come one at a time, in the order of the dialogue.

An exception of a handler ends the connection with ``421 4.3.0`` and is logged. `OSError` from a `MessageWriter` is
answered with ``452 4.3.1``; it must not have kept anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mailslot.net.server_connection import ServerConnection

if TYPE_CHECKING:
    from mailslot.wire.reply import Reply
    from mailslot.wire.secret import Secret


@dataclass(slots=True)
class Connection(ServerConnection):
    """One connection; the session updates it.

    Attributes:
        hello: the argument of the last HELO or EHLO, which may be empty; None before it, and again after STARTTLS.
        esmtp: whether it was EHLO.
    """

    hello: str | None = None
    esmtp: bool = False


@dataclass(frozen=True, slots=True)
class MailParameters:
    """The parameters of MAIL (RFC 5321 section 4.1.1.11).

    Attributes:
        size: the size that the client declares, in octets; None without one. It is only a hint: old devices send 0 or
            a wrong number (RFC 1870 section 6).
        eight_bit: whether ``BODY=8BITMIME`` was given (RFC 6152).
    """

    size: int | None = None
    eight_bit: bool = False


class Backend(Protocol):
    """Creates a handler for each connection."""

    def connected(self, connection: Connection) -> ConnectionHandler:
        """Return the handler of a new connection, before anything is sent and before the TLS handshake.

        This must not block, and must not raise.
        """
        ...


class ConnectionHandler(Protocol):
    """Makes the decisions for one connection; created by a `Backend`.

    It keeps its `Connection`, from which it gets what becomes known later: TLS and the client's certificate, the
    HELO name, the user.
    """

    @property
    def max_size(self) -> int:
        """The maximum octets of a message, for SIZE; it may change once the client is identified."""
        ...

    @property
    def offers_authentication(self) -> bool:
        """Whether anybody can sign in, so that AUTH is offered if the listener's security allows it."""
        ...

    async def accept(self) -> Reply | None:
        """Decide whether to serve the client, before the greeting; with implicit TLS, after the handshake.

        A positive reply is sent as the greeting. A refusal (``554 5.7.1``) is sent in its place; the session then
        waits a little for the client's next command, so that `Connection.hello` is known when `closed` is called.
        """
        ...

    async def authenticate(self, user: str, password: Secret) -> Reply | None:
        """Decide whether `user` may sign in with `password`.

        The session offers PLAIN and LOGIN. If it also offers mechanisms for tokens, `Connection.mechanism` shows
        whether this is a token.

        A refusal is ``535 5.7.8``, also for unknown users, or ``454 4.7.0`` if it cannot be verified now. The session
        delays the reply, counts failures and sets `Connection.user`.
        """
        ...

    async def mail(self, sender: str, parameters: MailParameters) -> Reply | None:
        """Decide on the sender of a new message; this ends any previous transaction.

        Args:
            sender: the address without brackets, its domain as A-labels; empty for the null sender. Some devices send a
                name without a domain.
            parameters: the other parameters. A declared size over `max_size` was refused by the session already.
        """
        ...

    async def recipient(self, recipient: str) -> Reply | None:
        """Decide on a recipient.

        Args:
            recipient: the address without brackets, its domain as A-labels.
        """
        ...

    async def begin(self) -> MessageWriter | Reply:
        """Return the writer for the content of the message, or a refusal such as ``452 4.3.1``.

        Called at DATA, or at the first BDAT, once there is at least one recipient.
        """
        ...

    async def closed(self) -> None:
        """Called once when the connection has ended, shielded from cancellation; `Connection.ending` says how.

        A message that was not committed has been discarded before.
        """
        ...


class MessageWriter(Protocol):
    """Receives the content of one message; either `commit` or `discard` ends it.

    The content has CRLF at the end of every line, the last one included, and no stuffed dots.
    """

    async def write(self, data: bytes) -> None:
        """Write the next octets, at most about 64 KiB. The session reads further octets once this returns.

        Raises:
            OSError: they cannot be stored. The session discards the message, and replies ``452 4.3.1`` at its end.
        """
        ...

    async def commit(self) -> str | Reply:
        """Store the message durably and return the id of its job; or return a refusal, and keep nothing.

        The session replies ``250 2.0.0 queued as ID``. If it is cancelled meanwhile, the client got no reply and will
        send the message again.

        Raises:
            OSError: it cannot be stored; nothing is kept. The reply is ``452 4.3.1``.
        """
        ...

    async def discard(self) -> None:
        """Discard the message: the client has gone, or it is too large. Shielded from cancellation."""
        ...
