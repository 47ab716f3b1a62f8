"""The SMTP client without any I/O: commands in, octets out; octets in, answers out.

After RFC 5321, with STARTTLS (RFC 3207), AUTH (RFC 4954), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8
(RFC 6531), DSN (RFC 3461), PIPELINING (RFC 2920), CHUNKING (RFC 3030) and LIMITS (RFC 9422).

Nothing here waits, connects or knows the time. A command method returns the octets to send; `receive` takes
octets that came, and `next_event` gives what they mean. Commands may be sent while others are unanswered
where the server offers PIPELINING; answers belong to commands by count, never by what they say.
"""

from __future__ import annotations

import base64
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.smtp.capabilities import Capabilities
from mailslot.smtp.limits import MAX_COMMAND, MAX_MAIL, MAX_RCPT
from mailslot.smtp.replies import ReplyParser
from mailslot.smtp.states import PERMITTED, TRANSITIONS, State, Verb, optimistic_state
from mailslot.wire.dots import DotStuffer, LineEndNormalizer
from mailslot.wire.protocol_error import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from mailslot.smtp.address import Address
    from mailslot.wire.reply import Reply


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """The server answered the oldest unanswered command."""

    verb: Verb
    reply: Reply


@dataclass(frozen=True, slots=True)
class ServerClosing:
    """The server said 421 though nothing was asked: it is closing the connection (RFC 5321 section 3.8)."""

    reply: Reply


Event = ReplyReceived | ServerClosing

_INTRODUCTIONS = frozenset({Verb.EHLO, Verb.HELO})
_SIGN_IN = frozenset({Verb.AUTH, Verb.RESPONSE})

# The groups of RFC 2920 section 3.1: these end one, so nothing may be sent before they are answered. The final
# dot and the last chunk are no commands of its list; a group may follow them at once.
_ENDS_GROUP = frozenset(
    {Verb.GREETING, Verb.EHLO, Verb.HELO, Verb.STARTTLS, Verb.AUTH, Verb.RESPONSE, Verb.CANCEL, Verb.DATA,
     Verb.NOOP, Verb.QUIT}
)  # fmt: skip

# The one reply of 3xx that each command knows (RFC 5321 section 4.2.2, RFC 4954 section 4).
_ASKS_ON = {Verb.DATA: 354, Verb.AUTH: 334, Verb.RESPONSE: 334}


class SmtpProtocol:
    """One session's state.

    Attributes:
        state: where the server is, by what it has answered.
        capabilities: what its last EHLO offered; empty before, and again once TLS comes up.
        encrypted: whether TLS is up.
        signed_in: whether a sign-in has succeeded.
        sent_size: the octets of the last message whose end was given out, as SIZE counts them.

    Every command method raises `LocalProtocolError` where the command is not allowed now, and
    `RemoteProtocolError` where octets have come that answer nothing; in both cases nothing is to be sent.
    """

    def __init__(self) -> None:
        self.state = State.GREETING
        self.capabilities = Capabilities()
        self.encrypted = False
        self.signed_in = False
        self.sent_size = 0
        self._replies = ReplyParser()
        self._unanswered: deque[Verb] = deque([Verb.GREETING])
        self._ahead = State.CONNECTED
        self._stuffer: DotStuffer | None = None
        self._chunks: LineEndNormalizer | None = None

    @property
    def pending(self) -> int:
        """How many commands, the greeting included, are still to be answered."""
        return len(self._unanswered)

    @property
    def unread(self) -> int:
        """How many octets were received that no event has told of yet."""
        return len(self._replies)

    # What comes in.

    def receive(self, data: bytes) -> None:
        """Take octets that were received."""
        self._replies.feed(data)

    def next_event(self) -> Event | None:
        """Return what came next, or None where more octets are needed.

        Raises:
            RemoteProtocolError: the server broke the protocol; the session is over.
        """
        if self.state is State.UPGRADE:
            return None
        reply = self._replies.next()
        if reply is None:
            return None
        if not self._unanswered:
            return self._unsolicited(reply)
        verb = self._unanswered.popleft()
        expected, self.state = optimistic_state(self.state, verb), self._after(verb, reply)
        if self.state is State.CLOSED:
            self._unanswered.clear()
        if self.state is not expected:
            self._ahead = self._optimistic()
        self._learn(verb, reply)
        return ReplyReceived(verb, reply)

    def _unsolicited(self, reply: Reply) -> Event:
        """Tell what a reply means that no command waits for."""
        early = self.state is State.DATA and not reply.positive
        if not early and reply.code != 421:
            raise RemoteProtocolError(f"a reply too many: {reply.code}")
        # A message that is being sent cannot be taken back, so after an early refusal there is no going on.
        self.state = self._ahead = State.CLOSED
        return ReplyReceived(Verb.END_OF_DATA, reply) if early else ServerClosing(reply)

    def _after(self, verb: Verb, reply: Reply) -> State:
        code = reply.code or 0
        if code == 421:
            return State.CLOSED
        outcome = TRANSITIONS[self.state, verb]
        asks_on = code == _ASKS_ON.get(verb)
        after = (
            outcome.negative
            if code >= 400
            else outcome.intermediate
            if asks_on
            else outcome.positive
            if code < 300
            else None
        )
        if after is None:
            raise RemoteProtocolError(f"the reply {code} to {verb.value}")
        return after

    def _optimistic(self) -> State:
        state = self.state
        for verb in self._unanswered:
            state = optimistic_state(state, verb)
        return state

    def _learn(self, verb: Verb, reply: Reply) -> None:
        code = reply.code or 0
        if verb in _INTRODUCTIONS and reply.positive:
            self.capabilities = Capabilities(reply.text if verb is Verb.EHLO else "")
        elif verb in _SIGN_IN and code < 300:
            self.signed_in = True

    # What goes out.

    def ehlo(self, name: str) -> bytes:
        """Say who we are and ask what the server can do: `name` is a domain or an address literal."""
        return self._line(Verb.EHLO, f"EHLO {name}")

    def helo(self, name: str) -> bytes:
        """Say who we are to a server that does not know EHLO (RFC 5321 section 3.2)."""
        return self._line(Verb.HELO, f"HELO {name}")

    def starttls(self) -> bytes:
        """Ask for TLS. Once it is taken, only `tls_started` can follow (RFC 3207 section 4)."""
        if self.encrypted or "STARTTLS" not in self.capabilities:
            raise LocalProtocolError("STARTTLS where TLS is up or not offered")
        if len(self._replies):
            raise RemoteProtocolError("an answer to STARTTLS before it was asked for", cause="tls_injection")
        return self._line(Verb.STARTTLS, "STARTTLS")

    def tls_started(self) -> None:
        """Note that the handshake is about to begin: everything known is forgotten (RFC 3207 section 4.2).

        Raises:
            RemoteProtocolError: octets are waiting that came before TLS and would be believed after it.
        """
        if self.state is not State.UPGRADE:
            raise LocalProtocolError("TLS without STARTTLS")
        if len(self._replies):
            raise RemoteProtocolError("octets sent ahead of the TLS handshake", cause="tls_injection")
        self.state = self._ahead = State.CONNECTED
        self.capabilities = Capabilities()
        self.encrypted = True

    def auth(self, mechanism: str, initial: bytes | None = None) -> bytes:
        """Begin a sign-in.

        Args:
            mechanism: the SASL mechanism's name.
            initial: its initial response, sent along; None to wait for the server's prompt. An empty one is
                sent as ``=`` (RFC 4954 section 4).
        """
        if self.signed_in:
            raise LocalProtocolError("a second sign-in (RFC 4954 section 4)")
        line = f"AUTH {mechanism}"
        if initial is not None:
            line += f" {base64.b64encode(initial).decode() or '='}"
        return self._line(Verb.AUTH, line)

    def respond(self, response: bytes) -> bytes:
        """Answer the server's challenge; a response may be longer than a command (RFC 4954 section 4)."""
        self._send(Verb.RESPONSE)
        return base64.b64encode(response) + b"\r\n"

    def cancel(self) -> bytes:
        """Give the sign-in up; the server is to refuse it with 501."""
        return self._line(Verb.CANCEL, "*")

    def mail(self, sender: Address, parameters: str = "") -> bytes:
        """Open a transaction; `parameters` come from `mailslot.smtp.envelope`."""
        return self._line(Verb.MAIL, f"MAIL FROM:<{sender.wire}>{parameters}", MAX_MAIL)

    def rcpt(self, recipient: Address, parameters: str = "") -> bytes:
        """Add a recipient."""
        return self._line(Verb.RCPT, f"RCPT TO:<{recipient.wire}>{parameters}", MAX_RCPT)

    def data(self) -> bytes:
        """Ask to send the message; `content` and `end` follow once the answer is 354."""
        octets = self._line(Verb.DATA, "DATA")
        self._stuffer = DotStuffer()
        return octets

    def content(self, piece: bytes) -> bytes:
        """Return a piece of the message as it goes onto the wire: CRLF line ends, dots stuffed."""
        if self.state is not State.DATA or self._unanswered or self._stuffer is None:
            raise LocalProtocolError("content that nobody asked for")
        return self._stuffer.feed(piece)

    def end(self) -> bytes:
        """Return the end of the message, its final dot included."""
        if self.state not in {State.DATA, State.NO_RECIPIENTS} or self._unanswered:
            raise LocalProtocolError("an end of content that nobody asked for")
        self._send(Verb.END_OF_DATA)
        stuffer, self._stuffer = self._stuffer or DotStuffer(), None
        octets = stuffer.finish()
        self.sent_size = stuffer.size
        return octets

    def chunk(self, piece: bytes, *, last: bool) -> bytes:
        """Return a piece of the message as a BDAT chunk with its command (RFC 3030 section 2).

        Line ends become CRLF as with DATA; where `last`, the last line is completed.
        """
        if "CHUNKING" not in self.capabilities:
            raise LocalProtocolError("BDAT where CHUNKING is not offered")
        self._send(Verb.BDAT_LAST if last else Verb.BDAT)
        canonical = self._chunks = self._chunks or LineEndNormalizer()
        octets = canonical.feed(piece)
        if last:
            octets += canonical.finish()
            self.sent_size = canonical.size
            self._chunks = None
        return b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b"") + octets

    def rset(self) -> bytes:
        """Give up the transaction."""
        octets = self._line(Verb.RSET, "RSET")
        self._chunks = None
        return octets

    def noop(self) -> bytes:
        """Ask for nothing, to see whether the session lives."""
        return self._line(Verb.NOOP, "NOOP")

    def quit(self) -> bytes:
        """End the session."""
        return self._line(Verb.QUIT, "QUIT")

    def _line(self, verb: Verb, line: str, limit: int = MAX_COMMAND) -> bytes:
        octets = line.encode() + b"\r\n"
        if len(octets) > limit:
            raise LocalProtocolError(f"a {verb.value} command of over {limit} octets")
        if not line.isprintable():
            raise LocalProtocolError(f"a control character in a {verb.value} command")
        self._send(verb)
        return octets

    def _send(self, verb: Verb) -> None:
        if not self._unanswered and len(self._replies):
            raise RemoteProtocolError("an answer before anything was asked")
        if self._unanswered and ("PIPELINING" not in self.capabilities or self._unanswered[-1] in _ENDS_GROUP):
            raise LocalProtocolError(f"{verb.value} before {self._unanswered[-1].value} was answered")
        if verb not in PERMITTED[self._ahead]:
            raise LocalProtocolError(f"{verb.value} in the state {self._ahead.name.lower()}")
        self._unanswered.append(verb)
        self._ahead = optimistic_state(self._ahead, verb)
