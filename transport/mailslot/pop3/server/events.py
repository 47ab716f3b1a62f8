"""What the POP3 server's core reports; those that demand a decision say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.wire.closing import Closing
from mailslot.wire.server_core import TurnOver

if TYPE_CHECKING:
    from mailslot.pop3.server.maildrop import Message
    from mailslot.wire.secret import Secret


@dataclass(frozen=True, slots=True)
class StartTls:
    """STLS. Demands a response; after a positive one has been sent, the handshake is due."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The client wants to sign in. Demands `Pop3ServerProtocol.open_maildrop` or a refusal.

    Attributes:
        user: the user.
        secret: the password, or the token, as the mechanism has it.
        mechanism: the name of the SASL mechanism; None for USER and PASS.
    """

    user: str
    secret: Secret
    mechanism: str | None = None


@dataclass(frozen=True, slots=True)
class ApopDigest:
    """APOP. Demands `Pop3ServerProtocol.open_maildrop` or a refusal.

    Attributes:
        user: the user.
        timestamp: that of the greeting, with its brackets.
        digest: in lower-case hexadecimal: MD5 of the timestamp and the password.
    """

    user: str
    timestamp: str
    digest: str


@dataclass(frozen=True, slots=True)
class Retrieve:
    """RETR or TOP. Demands a response; after a positive one, the message's octets and its end.

    Attributes:
        message: the message.
        whole: whether all of it is wanted, as by RETR.
    """

    message: Message
    whole: bool


@dataclass(frozen=True, slots=True)
class Update:
    """QUIT, where messages are marked. Demands a response: a positive one once they are deleted."""

    deleted: tuple[Message, ...]


Event = StartTls | Credentials | ApopDigest | Retrieve | Update | TurnOver | Closing
