"""The events of the SMTP server's core; some require a decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.wire.closing import Closing
from mailslot.wire.server_core import TurnEnded

if TYPE_CHECKING:
    from mailslot.smtp.server.backend import MailParameters
    from mailslot.wire.secret import Secret


@dataclass(frozen=True, slots=True)
class Hello:
    """HELO or EHLO. Requires a reply, unless the greeting was a refusal.

    Attributes:
        name: the argument, which may be empty and is not checked.
        esmtp: whether it was EHLO.
    """

    name: str
    esmtp: bool


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS. Requires a reply; after a positive one has been sent, the handshake is due."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A sign-in. Requires a reply.

    Attributes:
        user: the user.
        secret: the password or the token, depending on the mechanism.
        mechanism: the name of the SASL mechanism.
    """

    user: str
    secret: Secret
    mechanism: str


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL with a sender, empty for the null sender. Requires a reply."""

    sender: str
    parameters: MailParameters


@dataclass(frozen=True, slots=True)
class Recipient:
    """RCPT. Requires a reply."""

    address: str


@dataclass(frozen=True, slots=True)
class Begin:
    """DATA, or the first BDAT of a message. Requires a reply; for BDAT, a positive one is not sent."""


@dataclass(frozen=True, slots=True)
class Content:
    """The next octets of the message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ChunkReceived:
    """A chunk other than the last one is complete. Requires a reply."""


@dataclass(frozen=True, slots=True)
class EndOfMessage:
    """The message is complete. Requires a reply: `mailslot.smtp.server.replies.queued_as`, or a refusal.

    Attributes:
        size: the octets of its content.
    """

    size: int


@dataclass(frozen=True, slots=True)
class Aborted:
    """A message was aborted and must be discarded: it is too large, or the client has aborted it or disconnected."""


Event = (
    Hello
    | StartTls
    | Credentials
    | Mail
    | Recipient
    | Begin
    | Content
    | ChunkReceived
    | EndOfMessage
    | Aborted
    | TurnEnded
    | Closing
)
