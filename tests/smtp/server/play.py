"""A core that plays dialogues, and parts of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mailslot import Transcript
from mailslot.smtp.server import events, replies
from mailslot.smtp.server.offers import Offers
from mailslot.smtp.server.protocol import SmtpServerProtocol
from mailslot.wire.server_core import TurnEnded
from server_play import ServerPlayer

if TYPE_CHECKING:
    from mailslot.wire.reply import Reply

HOST = "gate.example"
MAX_SIZE = 1_000_000


def offers(**changes: Any) -> Offers:
    return Offers(HOST, **{"tls": True, "max_size": MAX_SIZE, "authentication": True} | changes)


@dataclass
class Player(ServerPlayer[SmtpServerProtocol]):
    """A core whose events are answered at once, and recorded.

    Attributes:
        messages: the messages that were accepted, each with sender and recipients.
    """

    messages: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)
    sender: str = ""
    recipients: list[str] = field(default_factory=list)

    def react(self, event: events.Event) -> None:
        reply = self.refusals.get(type(event))
        match event:
            case TurnEnded():
                return
            case events.Content(data):
                assert data
                self.content += data
                return
            case events.Mail(sender):
                self.sender, self.recipients = sender, []
            case events.Recipient(address) if reply is None:
                self.recipients.append(address)
            case events.Begin() | events.Aborted():
                self.content.clear()
            case events.EndOfMessage(size):
                assert size == len(self.content)
                if reply is None:
                    self.messages.append((self.sender, self.recipients, bytes(self.content)))
                    reply = replies.queued_as(f"job{len(self.messages)}")
            case _:
                pass
        self.heard.append(event)
        if self.core.reply_due:
            self.core.reply(reply)
        if isinstance(event, events.StartTls) and reply is None:
            self.core.tls_started()


def player(refusals: dict[type, Reply] | None = None, *, encrypted: bool = False, **changes: Any) -> Player:
    """Return a core that has greeted."""
    made = Player(SmtpServerProtocol(offers(**changes), Transcript(), encrypted=encrypted), refusals or {})
    made.core.greet()
    made.drain()
    assert made.take_sent() == b"220 gate.example ESMTP\r\n"
    return made


READY = """
C: EHLO scanner
S: 250-gate.example
S: 250-PIPELINING
S: 250-SIZE 1000000
S: 250-8BITMIME
S: 250-ENHANCEDSTATUSCODES
S: 250-CHUNKING
S: 250 STARTTLS
"""
SENDER = """
C: MAIL FROM:<scanner@example.com>
S: 250 2.1.0 Sender accepted
"""
RECIPIENT = """
C: RCPT TO:<to@example.com>
S: 250 2.1.5 Recipient accepted
"""
DATA = """
C: DATA
S: 354 Send the message, and end it with <CRLF>.<CRLF>
"""
