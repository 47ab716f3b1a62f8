"""The POP3 client without any I/O: commands in, octets out; octets in, events out.

After RFC 1939, with CAPA and response codes (RFC 2449, RFC 3206), STLS (RFC 2595) and AUTH (RFC 5034).

Nothing here waits, connects or knows the time. A command method returns the octets to send; `receive` takes
octets that came, and `next_event` gives what they mean. Commands may be sent while others are unanswered where
the server offers PIPELINING; answers belong to commands by count.
"""

from __future__ import annotations

import base64
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.pop3.capabilities import Capabilities
from mailslot.pop3.limits import (
    MAX_CAPABILITIES,
    MAX_COMMAND,
    MAX_ENTRIES,
    MAX_LISTING,
    MAX_LISTING_LINE,
    MAX_STATUS_LINE,
)
from mailslot.pop3.replies import check_beginning, parse_challenge, parse_status
from mailslot.pop3.states import LISTINGS, MESSAGES, PERMITTED, TRANSITIONS, State, Verb, optimistic_state
from mailslot.wire.dots import END, DotUnstuffer
from mailslot.wire.lines import LineBuffer
from mailslot.wire.protocol_error import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from mailslot.wire.reply import Reply


@dataclass(frozen=True, slots=True)
class StatusReceived:
    """The server answered the oldest unanswered command with ``+OK`` or ``-ERR``."""

    verb: Verb
    reply: Reply


@dataclass(frozen=True, slots=True)
class ChallengeReceived:
    """The server goes on with a sign-in; `text` is base64, or should be."""

    text: str


@dataclass(frozen=True, slots=True)
class LineReceived:
    """A line of a listing, its dot unstuffed."""

    verb: Verb
    text: str


@dataclass(frozen=True, slots=True)
class OctetsReceived:
    """Some octets of a message, dots unstuffed; where they are cut means nothing."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ResponseComplete:
    """The listing or the message is complete."""

    verb: Verb


Event = StatusReceived | ChallengeReceived | LineReceived | OctetsReceived | ResponseComplete

_SIGN_IN = frozenset({Verb.AUTH, Verb.RESPONSE})

# After these the server may change what it can do, or wait for something else than a command.
_ALONE = frozenset({Verb.GREETING, Verb.STLS, Verb.AUTH, Verb.RESPONSE, Verb.CANCEL, Verb.USER, Verb.PASS, Verb.QUIT})


class Pop3Protocol:
    """One session's state.

    Attributes:
        state: where the server is, by what it has answered.
        capabilities: its last complete answer to CAPA; empty before, and again once TLS comes up.
        encrypted: whether TLS is up.

    Every command method raises `LocalProtocolError` where the command is not allowed now, and
    `RemoteProtocolError` where octets have come that answer nothing; in both cases nothing is to be sent.
    """

    def __init__(self) -> None:
        self.state = State.GREETING
        self.capabilities = Capabilities()
        self.encrypted = False
        self._buffer = LineBuffer()
        self._unanswered: deque[Verb] = deque([Verb.GREETING])
        self._ahead = State.AUTHORIZATION
        self._listing: Verb | None = None
        self._lines: list[str] = []
        self._count = self._octets = 0
        self._message: tuple[Verb, DotUnstuffer] | None = None

    @property
    def pending(self) -> int:
        """How many commands, the greeting included, are still to be answered."""
        return len(self._unanswered)

    @property
    def complete(self) -> bool:
        """Whether the message that has begun has come whole: its `End` is the next event."""
        return self._message is not None and self._message[1].done

    @property
    def inside(self) -> bool:
        """Whether a listing or message has begun and not ended."""
        return self._listing is not None or self._message is not None

    # What comes in.

    def receive(self, data: bytes) -> None:
        """Take octets that were received."""
        self._buffer.feed(data)

    def next_event(self) -> Event | None:
        """Return what came next, or None where more octets are needed.

        Raises:
            RemoteProtocolError: the server broke the protocol; the session is over.
        """
        if self._message is not None:
            return self._next_octets(*self._message)
        if self._listing is not None:
            return self._next_line(self._listing)
        if self.state is State.UPGRADE:
            return None
        line = self._buffer.line(MAX_STATUS_LINE)
        if line is None:
            check_beginning(self._buffer.peek(40))
            return None
        if not self._unanswered:
            raise RemoteProtocolError("a line that answers nothing")
        verb = self._unanswered[0]
        challenge = parse_challenge(line) if verb in _SIGN_IN else None
        if challenge is not None:
            self._unanswered.popleft()
            self._move(verb, TRANSITIONS[self.state, verb].intermediate)
            return ChallengeReceived(challenge)
        reply = parse_status(line)
        self._unanswered.popleft()
        self._settle(verb, reply)
        return StatusReceived(verb, reply)

    def _settle(self, verb: Verb, reply: Reply) -> None:
        outcome = TRANSITIONS[self.state, verb]
        after = outcome.positive if reply.positive else outcome.negative
        if after is None:
            raise RemoteProtocolError(f"+OK to {verb.value}")
        self._move(verb, after)
        if not reply.positive:
            if verb is Verb.CAPA:
                self.capabilities = Capabilities()
        elif verb in LISTINGS:
            self._listing, self._lines, self._count, self._octets = verb, [], 0, 0
        elif verb in MESSAGES:
            self._message = verb, DotUnstuffer()

    def _move(self, answered: Verb, state: State | None) -> None:
        assert state is not None  # noqa: S101 - every sign-in verb of the table has it
        expected, self.state = optimistic_state(self.state, answered), state
        if state is State.CLOSED:
            self._unanswered.clear()
        if state is not expected:
            # Nothing was sent behind a command that changes the state.
            self._ahead = state

    def _next_line(self, verb: Verb) -> Event | None:
        line = self._buffer.line(MAX_LISTING_LINE)
        if line is None:
            return None
        if line == b".":
            self._listing = None
            if verb is Verb.CAPA:
                self.capabilities = Capabilities(self._lines)
            return ResponseComplete(verb)
        self._count += 1
        self._octets += len(line) + 2
        if self._count > (MAX_CAPABILITIES if verb is Verb.CAPA else MAX_ENTRIES) or self._octets > MAX_LISTING:
            raise RemoteProtocolError(f"an answer to {verb.value} without end")
        text = line.removeprefix(b".").decode("utf-8", "backslashreplace")
        if verb is Verb.CAPA:
            self._lines.append(text)
        return LineReceived(verb, text)

    def _next_octets(self, verb: Verb, unstuffer: DotUnstuffer) -> Event | None:
        data = b"" if unstuffer.done else self._unstuffed(unstuffer)
        if data:
            return OctetsReceived(data)
        if not unstuffer.done:
            return None
        self._message = None
        return ResponseComplete(verb)

    def _unstuffed(self, unstuffer: DotUnstuffer) -> bytes:
        data = unstuffer.feed(self._buffer.take(END))
        if unstuffer.done:
            self._buffer.give_back(len(unstuffer.rest))
        return data

    # What goes out.

    def capa(self) -> bytes:
        """Ask what the server can do."""
        return self._line(Verb.CAPA, "CAPA")

    def stls(self) -> bytes:
        """Ask for TLS. Once it is taken, only `tls_started` can follow (RFC 2595 section 4)."""
        if self.encrypted:
            raise LocalProtocolError("STLS where TLS is up")
        return self._line(Verb.STLS, "STLS")

    def tls_started(self) -> None:
        """Note that the handshake is about to begin: everything known is forgotten (RFC 2595 section 4).

        Raises:
            RemoteProtocolError: octets are waiting that came before TLS and would be believed after it.
        """
        if self.state is not State.UPGRADE:
            raise LocalProtocolError("TLS without STLS")
        if len(self._buffer):
            raise RemoteProtocolError("octets sent ahead of the TLS handshake", cause="tls_injection")
        self.state = self._ahead = State.AUTHORIZATION
        self.capabilities = Capabilities()
        self.encrypted = True

    def auth(self, mechanism: str, initial: bytes | None = None) -> bytes:
        """Begin a sign-in.

        Args:
            mechanism: the SASL mechanism's name.
            initial: its initial response, sent along; None to wait for the server's prompt. An empty one is
                sent as ``=`` (RFC 5034 section 4).
        """
        line = f"AUTH {mechanism}"
        if initial is not None:
            line += f" {base64.b64encode(initial).decode() or '='}"
        return self._line(Verb.AUTH, line)

    def respond(self, response: bytes) -> bytes:
        """Answer a challenge; a response may be longer than a command (RFC 5034 section 4)."""
        self._send(Verb.RESPONSE)
        return base64.b64encode(response) + b"\r\n"

    def cancel(self) -> bytes:
        """Give the sign-in up; the server is to refuse it."""
        return self._line(Verb.CANCEL, "*")

    def user(self, name: str) -> bytes:
        """Name the maildrop."""
        return self._line(Verb.USER, f"USER {name}")

    def password(self, password: str) -> bytes:
        """Give the password; spaces belong to it (RFC 1939 section 7)."""
        return self._line(Verb.PASS, f"PASS {password}")

    def stat(self) -> bytes:
        """Ask how many messages there are, and how many octets."""
        return self._line(Verb.STAT, "STAT")

    def list(self) -> bytes:
        """Ask for the sizes of all messages."""
        return self._line(Verb.LIST, "LIST")

    def uidl(self) -> bytes:
        """Ask for the unique-ids of all messages."""
        return self._line(Verb.UIDL, "UIDL")

    def top(self, number: int, lines: int) -> bytes:
        """Ask for a message's header and its first lines."""
        return self._line(Verb.TOP, f"TOP {number} {lines}")

    def retr(self, number: int) -> bytes:
        """Ask for a message."""
        return self._line(Verb.RETR, f"RETR {number}")

    def dele(self, number: int) -> bytes:
        """Mark a message as deleted; QUIT makes it so (RFC 1939 section 6)."""
        return self._line(Verb.DELE, f"DELE {number}")

    def rset(self) -> bytes:
        """Take back all marks."""
        return self._line(Verb.RSET, "RSET")

    def noop(self) -> bytes:
        """Ask for nothing, to see whether the session lives."""
        return self._line(Verb.NOOP, "NOOP")

    def quit(self) -> bytes:
        """End the session; marked messages are deleted."""
        return self._line(Verb.QUIT, "QUIT")

    def _line(self, verb: Verb, line: str) -> bytes:
        octets = line.encode() + b"\r\n"
        if len(octets) > MAX_COMMAND:
            raise LocalProtocolError(f"a {verb.value} command of over {MAX_COMMAND} octets")
        if any(octet < 32 or octet == 127 for octet in octets[:-2]):
            raise LocalProtocolError(f"a control character in a {verb.value} command")
        self._send(verb)
        return octets

    def _send(self, verb: Verb) -> None:
        if not self._unanswered and not self.inside and len(self._buffer):
            cause = "tls_injection" if verb is Verb.STLS else "protocol_error"
            raise RemoteProtocolError("an answer before anything was asked", cause=cause)
        if self._unanswered or self.inside:
            last = self._unanswered[-1] if self._unanswered else None
            if "PIPELINING" not in self.capabilities or last in _ALONE:
                raise LocalProtocolError(f"{verb.value} before the last command was answered")
        if verb not in PERMITTED[self._ahead]:
            raise LocalProtocolError(f"{verb.value} in the state {self._ahead.name.lower()}")
        self._unanswered.append(verb)
        self._ahead = optimistic_state(self._ahead, verb)
