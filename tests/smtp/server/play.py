"""Dialogues played by the core: what a client sends, and what the server answers to it, fed in different ways."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mailslot import Transcript
from mailslot.smtp.server import events, replies
from mailslot.smtp.server.offers import Offers
from mailslot.smtp.server.protocol import SmtpServerProtocol
from mailslot.wire.server_core import TurnOver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mailslot.wire.reply import Reply

HOST = "gate.example"
MAX_SIZE = 1_000_000


def offers(**changes: Any) -> Offers:
    return Offers(HOST, **{"tls": True, "max_size": MAX_SIZE, "authentication": True} | changes)


@dataclass
class Player:
    """A core whose events are answered at once, and recorded.

    Attributes:
        refusals: the reply to an event, by its type; all others are accepted.
        heard: the events, apart from content.
        messages: the messages that were accepted, each with sender and recipients.
    """

    core: SmtpServerProtocol
    refusals: dict[type, Reply] = field(default_factory=dict)
    heard: list[events.Event] = field(default_factory=list)
    messages: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    sent: bytes = b""
    content: bytearray = field(default_factory=bytearray)
    sender: str = ""
    recipients: list[str] = field(default_factory=list)

    def feed(self, octets: bytes) -> None:
        if self.core.state.name != "CLOSED":
            self.core.receive(octets)
        self.drain()

    def drain(self) -> None:
        while (event := self.core.next_event()) is not None:
            self.react(event)
        self.sent += self.core.octets_to_send()

    def react(self, event: events.Event) -> None:
        reply = self.refusals.get(type(event))
        match event:
            case TurnOver():
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

    def take_sent(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent


def player(refusals: dict[type, Reply] | None = None, *, encrypted: bool = False, **changes: Any) -> Player:
    """Return a core that has greeted."""
    made = Player(SmtpServerProtocol(offers(**changes), Transcript(), encrypted=encrypted), refusals or {})
    made.core.greet()
    made.drain()
    assert made.take_sent() == b"220 gate.example ESMTP\r\n"
    return made


def whole(octets: bytes) -> Iterable[bytes]:
    return [octets]


def bytewise(octets: bytes) -> Iterable[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))]


FEEDS: dict[str, Callable[[bytes], Iterable[bytes]]] = {"whole": whole, "bytewise": bytewise}


def converse(made: Player, dialogue: str, feed: Callable[[bytes], Iterable[bytes]] = whole) -> None:
    """Play a dialogue: lines with ``C: `` in one group are one flight; ``S: `` lines are the whole answer to it.

    ``\\r``, ``\\n`` and ``\\x…`` in a client's line are those octets, and one with ``\\`` at its end has no CRLF.
    """
    flight, due = b"", ""
    for line in [*filter(None, map(str.strip, dialogue.splitlines())), "C: "]:
        if line.startswith("C: ") or line == "C:":
            if due:
                for octets in feed(flight):
                    made.feed(octets)
                assert made.take_sent().decode() == due
                flight, due = b"", ""
            text = line[3:]
            bare = text.endswith("\\")
            flight += text.removesuffix("\\").encode().decode("unicode_escape").encode("latin-1") + (
                b"" if bare else b"\r\n"
            )
        else:
            assert line.startswith("S:"), line
            due += line[3:] + (" \r\n" if line == "S: 334" else "\r\n")


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
