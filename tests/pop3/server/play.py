"""A core that plays dialogues, with a maildrop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mailslot import Transcript
from mailslot.pop3.server import events
from mailslot.pop3.server.maildrop import Message
from mailslot.pop3.server.offers import Offers
from mailslot.pop3.server.protocol import Pop3ServerProtocol
from mailslot.wire.server_core import TurnEnded
from server_play import ServerPlayer

if TYPE_CHECKING:
    from mailslot.wire.reply import Reply

TIMESTAMP = "<1896.697170952@gate.example>"
MAILS = (
    b"Subject: one\r\n\r\nfirst\r\n.dot\r\n..\r\nlast\r\n",
    b"Subject: two\r\nTo: b@example.com\r\n\r\n",
    b"Subject: three\r\n\r\nno end",
)


@dataclass
class Player(ServerPlayer[Pop3ServerProtocol]):
    """A core whose events are answered at once, and recorded.

    Attributes:
        mails: the maildrop.
        deleted: the ids of those that were deleted, in the order of the sessions.
    """

    mails: tuple[bytes, ...] = MAILS
    deleted: list[int] = field(default_factory=list)
    piece: int = 7

    @property
    def messages(self) -> list[Message]:
        return [Message(100 + at, f"uid-{at}", len(mail)) for at, mail in enumerate(self.mails)]

    def react(self, event: events.Event) -> None:
        if isinstance(event, TurnEnded):
            self.sent += self.core.octets_to_send()
            return
        self.heard.append(event)
        refusal = self.refusals.get(type(event))
        if not self.core.reply_due:
            return
        if refusal is None and isinstance(event, events.Credentials | events.ApopDigest):
            self.core.open_maildrop(self.messages)
            return
        self.core.reply(refusal)
        if refusal is not None:
            return
        match event:
            case events.StartTls():
                self.core.tls_started()
            case events.Retrieve(message):
                self.retrieve(self.mails[message.id - 100])
            case events.Update(deleted):
                self.deleted += [message.id for message in deleted]
            case _:
                pass

    def retrieve(self, mail: bytes) -> None:
        for at in range(0, len(mail), self.piece):
            if not self.core.send_content(mail[at : at + self.piece]):
                break
        self.core.end_content()


def player(
    refusals: dict[type, Reply] | None = None,
    *,
    encrypted: bool = False,
    timestamp: str = TIMESTAMP,
    signed_in: bool = False,
    **changes: Any,
) -> Player:
    """Return a core that has greeted."""
    core = Pop3ServerProtocol(Offers(**{"tls": True} | changes), Transcript(), encrypted=encrypted or signed_in)
    made = Player(core, refusals or {})
    made.core.greet(timestamp)
    made.drain()
    assert made.take_sent().decode() == f"+OK POP3 server ready {timestamp}".rstrip() + "\r\n"
    if signed_in:
        made.feed(b"USER fax\r\nPASS open sesame\r\n")
        assert made.take_sent() == b"+OK Send the password\r\n+OK 3 messages\r\n"
        made.heard.clear()
    return made
