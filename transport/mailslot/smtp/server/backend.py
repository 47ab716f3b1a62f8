"""What an SMTP server hands its connections to: policy and storage, behind two small protocols, after go-smtp.

The session speaks SMTP and calls a `ConnectionHandler` for each decision. A decision is None for yes, or the reply
that refuses; replies of the contract stand ready in `mailslot.smtp.server.replies`. A refusal with code 421 also ends
the connection. The calls for one connection come one at a time, in the order of the dialogue.

An exception of a handler ends the connection with ``421 4.3.0`` and is logged; `OSError` from a `MessageWriter` is
answered with ``452 4.3.1``, and nothing may have been kept then.
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
        hello: the argument of the last HELO or EHLO, perhaps empty; None before it, and again after STARTTLS.
        esmtp: whether that was an EHLO.
    """

    hello: str | None = None
    esmtp: bool = False


@dataclass(frozen=True, slots=True)
class MailParameters:
    """The parameters of MAIL (RFC 5321 section 4.1.1.11).

    Attributes:
        size: the size that the client declares, in octets; None without one. It is a hint: old devices send 0, or
            another number than they should (RFC 1870 section 6).
        eight_bit: whether ``BODY=8BITMIME`` was given (RFC 6152).
    """

    size: int | None = None
    eight_bit: bool = False


class Backend(Protocol):
    """Makes a handler for each connection."""

    def connected(self, connection: Connection) -> ConnectionHandler:
        """Return the handler of a new connection. Nothing has been sent, and no TLS handshake been made yet.

        This must not block, and must not raise.
        """
        ...


class ConnectionHandler(Protocol):
    """Decides on one connection; made by a `Backend`.

    It keeps the `Connection` that it was made for and reads there what becomes known later: TLS and the client's
    certificate, the HELO name, the user.
    """

    @property
    def max_size(self) -> int:
        """The octets that a message may have, for SIZE; it may change once the device is known."""
        ...

    @property
    def offers_authentication(self) -> bool:
        """Whether anybody can sign in here, so that AUTH is offered where the listener's security allows it."""
        ...

    async def accept(self) -> Reply | None:
        """Decide whether to speak with the client at all, before the greeting; with implicit TLS, after the handshake.

        A positive reply is sent as the greeting. A refusal (``554 5.7.1``) is sent instead of it; the session then
        waits a little for the client's next command, so that `Connection.hello` is known when `closed` is called.
        """
        ...

    async def authenticate(self, user: str, password: Secret) -> Reply | None:
        """Decide whether `user` may sign in with `password`.

        The session offers PLAIN and LOGIN. Where it was told to offer mechanisms for tokens as well,
        `Connection.mechanism` says whether this is a token.

        A refusal is ``535 5.7.8``, the same for unknown users, or ``454 4.7.0`` if nobody can tell now. The session
        delays the reply, counts failures and sets `Connection.user`.
        """
        ...

    async def mail(self, sender: str, parameters: MailParameters) -> Reply | None:
        """Decide on the sender of a new message; what was said about an earlier one is over.

        Args:
            sender: the address without brackets, its domain as A-labels; empty for the null sender. Some devices give
                a name without a domain.
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
        """Return where to write the content of the message; or refuse it, as with ``452 4.3.1``.

        Called at DATA, or at the first BDAT, once there is at least one recipient.
        """
        ...

    async def closed(self) -> None:
        """The connection has ended; `Connection.ending` says how. Called once, shielded from cancellation.

        A message that was not committed has been discarded before.
        """
        ...


class MessageWriter(Protocol):
    """Takes the content of one message. Ends with either `commit` or `discard`.

    The content has CRLF at the end of every line, the last one included, and no stuffed dots.
    """

    async def write(self, data: bytes) -> None:
        """Take the next octets, at most 64 KiB or so. The session reads on once this returns.

        Raises:
            OSError: they cannot be stored. The session discards the message, and replies ``452 4.3.1`` at its end.
        """
        ...

    async def commit(self) -> str | Reply:
        """Store the message durably and return the id of its job; or refuse it, and keep nothing.

        The session replies ``250 2.0.0 queued as ID``. If it is cancelled meanwhile, the client got no reply and will
        send the message again.

        Raises:
            OSError: it cannot be stored; nothing is kept. The reply is ``452 4.3.1``.
        """
        ...

    async def discard(self) -> None:
        """Forget the message: the client has gone, or it is too large. Shielded from cancellation."""
        ...
