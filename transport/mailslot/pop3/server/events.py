"""The events of the POP3 server's core; some require a decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.wire.closing import Closing
from mailslot.wire.server_core import TurnEnded

if TYPE_CHECKING:
    from mailslot.pop3.server.maildrop import Message
    from mailslot.wire.secret import Secret


@dataclass(frozen=True, slots=True)
class StartTls:
    """STLS. Requires a response; after a positive one has been sent, the handshake is due."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A sign-in. Requires `Pop3ServerProtocol.open_maildrop` or a refusal.

    Attributes:
        user: the user.
        secret: the password or the token, depending on the mechanism.
        mechanism: the name of the SASL mechanism; None for USER and PASS.
    """

    user: str
    secret: Secret
    mechanism: str | None = None


@dataclass(frozen=True, slots=True)
class ApopDigest:
    """APOP. Requires `Pop3ServerProtocol.open_maildrop` or a refusal.

    Attributes:
        user: the user.
        timestamp: the greeting's timestamp, with its brackets.
        digest: the MD5 digest of the timestamp and the password, in lower-case hexadecimal.
    """

    user: str
    timestamp: str
    digest: str


@dataclass(frozen=True, slots=True)
class Retrieve:
    """RETR or TOP. Requires a response; after a positive one, the message's octets and its end.

    Attributes:
        message: the message.
        whole: whether the whole message is requested, as by RETR.
    """

    message: Message
    whole: bool


@dataclass(frozen=True, slots=True)
class Update:
    """QUIT with messages marked as deleted. Requires a response: a positive one once they are deleted."""

    deleted: tuple[Message, ...]


Event = StartTls | Credentials | ApopDigest | Retrieve | Update | TurnEnded | Closing
