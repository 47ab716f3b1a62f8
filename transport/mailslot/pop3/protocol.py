"""The POP3 client without I/O: commands in, octets out; octets in, events out.

After RFC 1939, with CAPA and response codes (RFC 2449, RFC 3206), STLS (RFC 2595) and AUTH (RFC 5034).

A command method returns the octets to send; `receive` takes received octets, and `next_event` returns the events in
them. If the server offers PIPELINING, commands may be sent while others are pending; responses are matched to commands
by their order alone.
"""

from __future__ import annotations

import base64
import re
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
from mailslot.pop3.replies import check_reply_prefix, parse_challenge, parse_status
from mailslot.pop3.states import LISTINGS, MESSAGES, PERMITTED, TRANSITIONS, State, Verb, optimistic_state
from mailslot.wire.dot_stuffing import END_PATTERN, FINAL_DOT, DotUnstuffer, unstuffed
from mailslot.wire.lines import LineBuffer
from mailslot.wire.protocol_error import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from mailslot.wire.reply import Reply


@dataclass(frozen=True, slots=True)
class StatusReceived:
    """The status of the oldest pending command: ``+OK`` or ``-ERR``."""

    verb: Verb
    reply: Reply


@dataclass(frozen=True, slots=True)
class ChallengeReceived:
    """A SASL challenge; `text` should be base64."""

    text: str


@dataclass(frozen=True, slots=True)
class LineReceived:
    """A line of a listing, without its stuffed dot."""

    verb: Verb
    text: str


@dataclass(frozen=True, slots=True)
class OctetsReceived:
    """Some octets of a message, without stuffed dots, split at any place."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ResponseComplete:
    """The listing or the message is complete."""

    verb: Verb


Event = StatusReceived | ChallengeReceived | LineReceived | OctetsReceived | ResponseComplete

_AUTH_VERBS = frozenset({Verb.AUTH, Verb.RESPONSE})

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")

# Lines of a listing that `next_lines` takes; `next_event` knows all others.
_PLAIN_LINES = re.compile(rb"(?:(?!\.)[^\n]{0,%d}\r\n)+" % (MAX_LISTING_LINE - 2))

# A status line that `next_message` takes; `next_event` knows all others.
_PLAIN_SUCCESS = re.compile(rb"\+OK(?: [^\r\n]{0,%d})?\r\n" % (MAX_STATUS_LINE - 6))

# Nothing may be sent after these before their response: they may change the state or the capabilities.
_NEVER_PIPELINED = frozenset(
    {Verb.GREETING, Verb.STLS, Verb.AUTH, Verb.RESPONSE, Verb.CANCEL, Verb.USER, Verb.PASS, Verb.QUIT}
)


class Pop3Protocol:
    """The state of one session.

    Attributes:
        state: the actual state, by the responses so far.
        capabilities: from the last complete response to CAPA; empty before it, and again once TLS starts.
        encrypted: whether TLS is active.

    Every command method raises `LocalProtocolError` if the command is not allowed now, and `RemoteProtocolError` if
    unsolicited octets have come; in both cases nothing may be sent.
    """

    def __init__(self) -> None:
        self.state = State.GREETING
        self.capabilities = Capabilities()
        self.encrypted = False
        self._buffer = LineBuffer()
        self._pending_verbs: deque[Verb] = deque([Verb.GREETING])
        self._optimistic_state = State.AUTHORIZATION
        self._listing: Verb | None = None
        self._lines: list[str] = []
        self._line_count = self._octet_count = 0
        self._message: tuple[Verb, DotUnstuffer] | None = None

    @property
    def pending(self) -> int:
        """The number of commands, including the greeting, whose response has not come."""
        return len(self._pending_verbs)

    @property
    def message_complete(self) -> bool:
        """Whether the current message has arrived completely: the next event is `ResponseComplete`."""
        return self._message is not None and self._message[1].done

    @property
    def in_multiline_response(self) -> bool:
        """Whether a listing or a message has begun and not ended."""
        return self._listing is not None or self._message is not None

    # Receiving.

    def receive(self, data: bytes) -> None:
        """Add received octets."""
        self._buffer.feed(data)

    def next_event(self) -> Event | None:
        """Return the next event; None if more octets are needed.

        Raises:
            RemoteProtocolError: the server violated the protocol; the session is over.
        """
        if self._message is not None:
            return self._next_octets(*self._message)
        if self._listing is not None:
            return self._next_line(self._listing)
        if self.state is State.UPGRADE:
            return None
        line = self._buffer.next_line(MAX_STATUS_LINE)
        if line is None:
            check_reply_prefix(self._buffer.peek(40))
            return None
        if not self._pending_verbs:
            raise RemoteProtocolError("a line that answers nothing")
        verb = self._pending_verbs[0]
        challenge = parse_challenge(line) if verb in _AUTH_VERBS else None
        if challenge is not None:
            self._pending_verbs.popleft()
            self._change_state(verb, TRANSITIONS[self.state, verb].intermediate)
            return ChallengeReceived(challenge)
        reply = parse_status(line)
        self._pending_verbs.popleft()
        self._apply_status(verb, reply)
        return StatusReceived(verb, reply)

    def next_lines(self) -> list[str]:
        """Return the next lines of the listing of LIST or UIDL in one step, as many as have come.

        This is the usual case. A stuffed line, an invalid one and the end are left to `next_event`, with all behind
        them. The list is empty, and nothing has changed, if one of them is next, or if there is no such listing.

        Raises:
            RemoteProtocolError: there are too many lines.
        """
        verb = self._listing
        if verb is None or verb is Verb.CAPA or not (octets := self._buffer.peek_match(_PLAIN_LINES)):
            return []
        lines = octets[:-2].decode("utf-8", "backslashreplace").split("\r\n")
        self._count_lines(verb, len(lines), len(octets))
        self._buffer.skip(len(octets))
        return lines

    def next_message(self) -> bytes | None:
        """Return the next message, if it is requested by the oldest pending command and has come completely.

        This is the usual case where several short messages are requested at once. In any other case it returns None
        and has no effect; `next_event` then returns the same response in its parts.
        """
        pending = self._pending_verbs
        if not pending or pending[0] not in MESSAGES or self._message is not None or self._listing is not None:
            return None
        response = self._buffer.peek_through(END_PATTERN)
        if response is None:
            return None
        status = _PLAIN_SUCCESS.match(response)
        if status is None:
            return None
        pending.popleft()
        self._buffer.skip(len(response))
        return unstuffed(response[status.end() : -len(FINAL_DOT)])

    def _apply_status(self, verb: Verb, reply: Reply) -> None:
        outcome = TRANSITIONS[self.state, verb]
        after = outcome.positive if reply.positive else outcome.negative
        if after is None:
            raise RemoteProtocolError(f"+OK to {verb.value}")
        self._change_state(verb, after)
        if not reply.positive:
            if verb is Verb.CAPA:
                self.capabilities = Capabilities()
        elif verb in LISTINGS:
            self._listing, self._lines, self._line_count, self._octet_count = verb, [], 0, 0
        elif verb in MESSAGES:
            self._message = verb, DotUnstuffer()

    def _change_state(self, verb: Verb, state: State | None) -> None:
        assert state is not None  # noqa: S101 - every sign-in verb of the table has it
        expected, self.state = optimistic_state(self.state, verb), state
        if state is State.CLOSED:
            self._pending_verbs.clear()
        if state is not expected:
            # Commands that change the state are never pipelined, so no other command is pending.
            self._optimistic_state = state

    def _next_line(self, verb: Verb) -> Event | None:
        line = self._buffer.next_line(MAX_LISTING_LINE)
        if line is None:
            return None
        if line == b".":
            self._listing = None
            if verb is Verb.CAPA:
                self.capabilities = Capabilities(self._lines)
            return ResponseComplete(verb)
        self._count_lines(verb, 1, len(line) + 2)
        text = line.removeprefix(b".").decode("utf-8", "backslashreplace")
        if verb is Verb.CAPA:
            self._lines.append(text)
        return LineReceived(verb, text)

    def _count_lines(self, verb: Verb, lines: int, octets: int) -> None:
        self._line_count += lines
        self._octet_count += octets
        limit = MAX_CAPABILITIES if verb is Verb.CAPA else MAX_ENTRIES
        if self._line_count > limit or self._octet_count > MAX_LISTING:
            raise RemoteProtocolError(f"an answer to {verb.value} without end")

    def _next_octets(self, verb: Verb, unstuffer: DotUnstuffer) -> Event | None:
        data = b"" if unstuffer.done else self._take_octets(unstuffer)
        if data:
            return OctetsReceived(data)
        if not unstuffer.done:
            return None
        self._message = None
        return ResponseComplete(verb)

    def _take_octets(self, unstuffer: DotUnstuffer) -> bytes:
        data = unstuffer.feed(self._buffer.take(END_PATTERN))
        if unstuffer.done:
            self._buffer.push_back(len(unstuffer.trailing))
        return data

    # Sending.

    def capa(self) -> bytes:
        """Return CAPA."""
        return self._command(Verb.CAPA, "CAPA")

    def stls(self) -> bytes:
        """Return STLS. Once it is accepted, only `tls_started` may follow (RFC 2595 section 4)."""
        if self.encrypted:
            raise LocalProtocolError("STLS where TLS is up")
        return self._command(Verb.STLS, "STLS")

    def tls_started(self) -> None:
        """Reset the state, since the handshake is about to begin (RFC 2595 section 4).

        Raises:
            RemoteProtocolError: octets came before TLS that would be trusted after it.
        """
        if self.state is not State.UPGRADE:
            raise LocalProtocolError("TLS without STLS")
        if len(self._buffer):
            raise RemoteProtocolError("octets sent ahead of the TLS handshake", cause="tls_injection")
        self.state = self._optimistic_state = State.AUTHORIZATION
        self.capabilities = Capabilities()
        self.encrypted = True

    def auth(self, mechanism: str, initial: bytes | None = None) -> bytes:
        """Return AUTH.

        Args:
            mechanism: the SASL mechanism's name.
            initial: the initial response; None for none. An empty one is sent as ``=`` (RFC 5034 section 4).
        """
        line = f"AUTH {mechanism}"
        if initial is not None:
            line += f" {base64.b64encode(initial).decode() or '='}"
        return self._command(Verb.AUTH, line)

    def respond_to_challenge(self, response: bytes) -> bytes:
        """Return the response to a challenge, which may be longer than a command (RFC 5034 section 4)."""
        self._register(Verb.RESPONSE)
        return base64.b64encode(response) + b"\r\n"

    def cancel_auth(self) -> bytes:
        """Return ``*``, which cancels the exchange; the server has to refuse it."""
        return self._command(Verb.CANCEL, "*")

    def user(self, name: str) -> bytes:
        """Return USER."""
        return self._command(Verb.USER, f"USER {name}")

    def password(self, password: str) -> bytes:
        """Return PASS; the password may contain spaces (RFC 1939 section 7)."""
        return self._command(Verb.PASS, f"PASS {password}")

    def stat(self) -> bytes:
        """Return STAT."""
        return self._command(Verb.STAT, "STAT")

    def list(self) -> bytes:
        """Return LIST, for the sizes of all messages."""
        return self._command(Verb.LIST, "LIST")

    def uidl(self) -> bytes:
        """Return UIDL, for the unique-ids of all messages."""
        return self._command(Verb.UIDL, "UIDL")

    def top(self, number: int, lines: int) -> bytes:
        """Return TOP, for a message's header and first lines."""
        return self._command(Verb.TOP, f"TOP {number} {lines}")

    def retr(self, *numbers: int) -> bytes:
        """Return RETR for each of these messages."""
        self._register(Verb.RETR, len(numbers))
        return b"".join([b"RETR %d\r\n" % number for number in numbers])

    def dele(self, number: int) -> bytes:
        """Return DELE, which marks a message; QUIT deletes it (RFC 1939 section 6)."""
        return self._command(Verb.DELE, f"DELE {number}")

    def rset(self) -> bytes:
        """Return RSET, which removes all marks."""
        return self._command(Verb.RSET, "RSET")

    def noop(self) -> bytes:
        """Return NOOP."""
        return self._command(Verb.NOOP, "NOOP")

    def quit(self) -> bytes:
        """Return QUIT, which deletes the marked messages."""
        return self._command(Verb.QUIT, "QUIT")

    def _command(self, verb: Verb, line: str) -> bytes:
        octets = line.encode() + b"\r\n"
        if len(octets) > MAX_COMMAND:
            raise LocalProtocolError(f"a {verb.value} command of over {MAX_COMMAND} octets")
        if _CONTROL.search(octets, 0, len(octets) - 2):
            raise LocalProtocolError(f"a control character in a {verb.value} command")
        self._register(verb)
        return octets

    def _register(self, verb: Verb, count: int = 1) -> None:
        if not self._pending_verbs and not self.in_multiline_response and self._buffer.unread:
            cause = "tls_injection" if verb is Verb.STLS else "protocol_error"
            raise RemoteProtocolError("an answer before anything was asked", cause=cause)
        if self._pending_verbs or self.in_multiline_response or count > 1:
            last = self._pending_verbs[-1] if self._pending_verbs else None
            if "PIPELINING" not in self.capabilities or last in _NEVER_PIPELINED:
                raise LocalProtocolError(f"{verb.value} before the last command was answered")
        if verb not in PERMITTED[self._optimistic_state]:
            raise LocalProtocolError(f"{verb.value} in the state {self._optimistic_state.name.lower()}")
        self._pending_verbs.extend([verb] * count)
        # A command of which there may be several leaves the state as it is.
        self._optimistic_state = optimistic_state(self._optimistic_state, verb)
