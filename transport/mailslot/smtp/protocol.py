"""The SMTP client without I/O: commands in, octets out; octets in, events out.

After RFC 5321, with STARTTLS (RFC 3207), AUTH (RFC 4954), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8
(RFC 6531), DSN (RFC 3461), PIPELINING (RFC 2920), CHUNKING (RFC 3030) and LIMITS (RFC 9422).

A command method returns the octets to send; `receive` takes received octets, and `next_event` returns the events in
them. If the server offers PIPELINING, commands may be sent while others are pending; replies are matched to commands
by their order alone.
"""

from __future__ import annotations

import base64
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, final

from mailslot.smtp.capabilities import Capabilities
from mailslot.smtp.commands import DATA, encode_command, mail_command, rcpt_command
from mailslot.smtp.replies import ReplyParser
from mailslot.smtp.states import PERMITTED, TRANSITIONS, State, Verb, optimistic_state
from mailslot.wire.dot_stuffing import FINAL_DOT, DotStuffer, LineEndNormalizer, WholeMessage, stuffed
from mailslot.wire.protocol_error import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from mailslot.smtp.address import Address
    from mailslot.wire.reply import Reply


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """The reply to the oldest pending command."""

    verb: Verb
    reply: Reply


@final
@dataclass(frozen=True, slots=True)
class ServerClosing:
    """An unsolicited 421: the server is closing the connection (RFC 5321 section 3.8)."""

    reply: Reply


Event = ReplyReceived | ServerClosing

_HELLO_VERBS = frozenset({Verb.EHLO, Verb.HELO})
_AUTH_VERBS = frozenset({Verb.AUTH, Verb.RESPONSE})
_CHANGES_SESSION = _HELLO_VERBS | _AUTH_VERBS

# The commands that end a group (RFC 2920 section 3.1): nothing may be sent before their reply. The final dot and the
# last chunk are not on that list; a group may follow them at once.
_ENDS_GROUP = frozenset(
    {Verb.GREETING, Verb.EHLO, Verb.HELO, Verb.STARTTLS, Verb.AUTH, Verb.RESPONSE, Verb.CANCEL, Verb.DATA,
     Verb.NOOP, Verb.QUIT}
)  # fmt: skip

# The commands that change nothing but the state; `next_success` returns their replies.
_OF_TRANSACTION = frozenset({Verb.MAIL, Verb.RCPT, Verb.DATA, Verb.END_OF_DATA, Verb.RSET, Verb.NOOP})

# The 3xx reply that each command allows (RFC 5321 section 4.2.2, RFC 4954 section 4).
_INTERMEDIATE_CODES = {Verb.DATA: 354, Verb.AUTH: 334, Verb.RESPONSE: 334}


class SmtpProtocol:
    """The state of one session.

    Attributes:
        state: the actual state, by the replies so far.
        capabilities: from the last reply to EHLO; empty before it, and again once TLS starts.
        encrypted: whether TLS is active.
        authenticated: whether authentication has succeeded.
        sent_size: the octets of the last message that was completed, as SIZE counts them.
        received: the received octets that are not part of any event yet; `unread` is their number.

    Every command method raises `LocalProtocolError` if the command is not allowed now, and `RemoteProtocolError` if
    unsolicited octets have come; in both cases nothing may be sent.
    """

    def __init__(self) -> None:
        self.state = State.GREETING
        self.capabilities = Capabilities()
        self.encrypted = False
        self.authenticated = False
        self.sent_size = 0
        self.received = ReplyParser()
        self._pending_verbs: deque[Verb] = deque([Verb.GREETING])
        self._optimistic_state = State.CONNECTED
        self._stuffer: DotStuffer | None = None
        self._chunk_normalizer: LineEndNormalizer | None = None

    @property
    def pending(self) -> int:
        """The number of commands, including the greeting, whose reply has not come."""
        return len(self._pending_verbs)

    # Receiving.

    def receive(self, data: bytes) -> None:
        """Add received octets."""
        self.received.feed(data)

    def next_event(self) -> Event | None:
        """Return the next event; None if more octets are needed.

        Raises:
            RemoteProtocolError: the server violated the protocol; the session is over.
        """
        if self.state is State.UPGRADE:
            return None
        reply = self.received.next()
        if reply is None:
            return None
        if not self._pending_verbs:
            return self._unsolicited(reply)
        verb = self._pending_verbs.popleft()
        state, self.state = self.state, self._next_state(verb, reply)
        if self.state is State.CLOSED:
            self._pending_verbs.clear()
        if not self._pending_verbs:
            self._optimistic_state = self.state
        elif self.state is not optimistic_state(state, verb):
            self._optimistic_state = self._recompute_optimistic()
        if verb in _CHANGES_SESSION:
            self._apply_reply(verb, reply)
        return ReplyReceived(verb, reply)

    def next_success(self) -> list[Reply]:
        """Return the replies to all pending commands if they have come and all commands of a transaction succeeded.

        This is the usual case. It needs no table: the state is then the optimistic one. In any other case the list is
        empty and nothing has changed; `next_event` then returns the replies one by one.
        """
        pending = self._pending_verbs
        if not pending:
            return []
        replies = self.received.peek_all()
        try:
            for verb, reply in zip(pending, replies, strict=True):
                if reply is None or verb not in _OF_TRANSACTION:
                    return []
                code = reply.code or 0
                if code != 354 if verb is Verb.DATA else code >= 300:
                    return []
        except ValueError:
            # There are more of the ones than of the others.
            return []
        self.received.clear()
        pending.clear()
        self.state = self._optimistic_state
        return [*filter(None, replies)]

    def _unsolicited(self, reply: Reply) -> Event:
        """Return the event for a reply while no command is pending."""
        early = self.state is State.DATA and not reply.positive
        if not early and reply.code != 421:
            raise RemoteProtocolError(f"a reply too many: {reply.code}")
        # A message that is being sent cannot be aborted, so an early refusal ends the session.
        self.state = self._optimistic_state = State.CLOSED
        return ReplyReceived(Verb.END_OF_DATA, reply) if early else ServerClosing(reply)

    def _next_state(self, verb: Verb, reply: Reply) -> State:
        code = reply.code or 0
        outcome = TRANSITIONS[self.state, verb]
        if code < 300:
            after = outcome.positive
        elif code >= 400:
            after = State.CLOSED if code == 421 else outcome.negative
        else:
            after = outcome.intermediate if code == _INTERMEDIATE_CODES.get(verb) else None
        if after is None:
            raise RemoteProtocolError(f"the reply {code} to {verb.value}")
        return after

    def _recompute_optimistic(self) -> State:
        state = self.state
        for verb in self._pending_verbs:
            state = optimistic_state(state, verb)
        return state

    def _apply_reply(self, verb: Verb, reply: Reply) -> None:
        code = reply.code or 0
        if verb in _HELLO_VERBS and reply.positive:
            self.capabilities = Capabilities(reply.text if verb is Verb.EHLO else "")
        elif verb in _AUTH_VERBS and code < 300:
            self.authenticated = True

    # Sending.

    def ehlo(self, name: str) -> bytes:
        """Return EHLO; `name` is a domain or an address literal."""
        return self._command(Verb.EHLO, f"EHLO {name}")

    def helo(self, name: str) -> bytes:
        """Return HELO, for a server that does not know EHLO (RFC 5321 section 3.2)."""
        return self._command(Verb.HELO, f"HELO {name}")

    def starttls(self) -> bytes:
        """Return STARTTLS. Once it is accepted, only `tls_started` may follow (RFC 3207 section 4)."""
        if self.encrypted or "STARTTLS" not in self.capabilities:
            raise LocalProtocolError("STARTTLS where TLS is up or not offered")
        if self.received.unread:
            raise RemoteProtocolError("an answer to STARTTLS before it was asked for", cause="tls_injection")
        return self._command(Verb.STARTTLS, "STARTTLS")

    def tls_started(self) -> None:
        """Reset the state, since the handshake is about to begin (RFC 3207 section 4.2).

        Raises:
            RemoteProtocolError: octets came before TLS that would be trusted after it.
        """
        if self.state is not State.UPGRADE:
            raise LocalProtocolError("TLS without STARTTLS")
        if self.received.unread:
            raise RemoteProtocolError("octets sent ahead of the TLS handshake", cause="tls_injection")
        self.state = self._optimistic_state = State.CONNECTED
        self.capabilities = Capabilities()
        self.encrypted = True

    def auth(self, mechanism: str, initial: bytes | None = None) -> bytes:
        """Return AUTH.

        Args:
            mechanism: the SASL mechanism's name.
            initial: the initial response; None for none. An empty one is sent as ``=`` (RFC 4954 section 4).
        """
        if self.authenticated:
            raise LocalProtocolError("a second sign-in (RFC 4954 section 4)")
        line = f"AUTH {mechanism}"
        if initial is not None:
            line += f" {base64.b64encode(initial).decode() or '='}"
        return self._command(Verb.AUTH, line)

    def respond_to_challenge(self, response: bytes) -> bytes:
        """Return the response to a challenge, which may be longer than a command (RFC 4954 section 4)."""
        return self.group(base64.b64encode(response) + b"\r\n", (Verb.RESPONSE,))

    def cancel_auth(self) -> bytes:
        """Return ``*``, which cancels the exchange; the server has to reply 501."""
        return self._command(Verb.CANCEL, "*")

    def mail(self, sender: Address, parameters: str = "") -> bytes:
        """Return MAIL; `parameters` come from `mailslot.smtp.envelope`."""
        return self.group(mail_command(sender, parameters), (Verb.MAIL,))

    def rcpt(self, recipient: Address, parameters: str = "") -> bytes:
        """Return RCPT."""
        return self.group(rcpt_command(recipient, parameters), (Verb.RCPT,))

    def data(self) -> bytes:
        """Return DATA; `content` and `end_of_data`, or `message`, follow once the reply is 354."""
        return self.group(DATA, (Verb.DATA,))

    def group(self, octets: bytes, verbs: tuple[Verb, ...]) -> bytes:
        """Return commands as a group (RFC 2920), as one call for each of them would.

        Args:
            octets: the commands, from `mailslot.smtp.commands`.
            verbs: their verbs.
        """
        pending, first = self._pending_verbs, verbs[0]
        if not pending and self.received.unread:
            raise RemoteProtocolError("an answer before anything was asked")
        if (pending or verbs[1:]) and not self.capabilities.pipelining:
            raise _not_answered_error(*(*pending, *verbs)[-2:])
        if pending and pending[-1] in _ENDS_GROUP:
            raise _not_answered_error(pending[-1], first)
        self._optimistic_state = _state_after(self._optimistic_state, verbs)
        pending.extend(verbs)
        return octets

    def content(self, piece: bytes) -> bytes:
        """Return a piece of the message as it is sent after DATA: with CRLF line ends and stuffed dots."""
        if self.state is not State.DATA or self._pending_verbs:
            raise LocalProtocolError("content that nobody asked for")
        stuffer = self._stuffer = self._stuffer or DotStuffer()
        return stuffer.feed(piece)

    def end_of_data(self) -> bytes:
        """Return the end of the message, with the final dot."""
        if self.state not in {State.DATA, State.NO_RECIPIENTS} or self._pending_verbs:
            raise LocalProtocolError("an end of content that nobody asked for")
        stuffer, self._stuffer = self._stuffer or DotStuffer(), None
        octets = self.group(stuffer.finish(), (Verb.END_OF_DATA,))
        self.sent_size = stuffer.size
        return octets

    def message(self, message: WholeMessage) -> bytes:
        """Return a whole message as `content` and `end_of_data` do."""
        if self.state is not State.DATA or self._stuffer is not None or self._pending_verbs:
            raise LocalProtocolError("content that nobody asked for")
        octets = self.group(stuffed(message.lines) + FINAL_DOT, (Verb.END_OF_DATA,))
        self.sent_size = message.size
        return octets

    def bdat(self, piece: bytes, *, last: bool) -> bytes:
        """Return BDAT with a chunk of the message (RFC 3030 section 2).

        Line ends become CRLF, as after DATA; in the last chunk the last line is completed.
        """
        if "CHUNKING" not in self.capabilities:
            raise LocalProtocolError("BDAT where CHUNKING is not offered")
        self.group(b"", (Verb.BDAT_LAST if last else Verb.BDAT,))
        normalizer = self._chunk_normalizer = self._chunk_normalizer or LineEndNormalizer()
        octets = normalizer.feed(piece)
        if last:
            octets += normalizer.finish()
            self.sent_size = normalizer.size
            self._chunk_normalizer = None
        return b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b"") + octets

    def rset(self) -> bytes:
        """Return RSET."""
        octets = self._command(Verb.RSET, "RSET")
        self._chunk_normalizer = None
        return octets

    def noop(self) -> bytes:
        """Return NOOP."""
        return self._command(Verb.NOOP, "NOOP")

    def quit(self) -> bytes:
        """Return QUIT."""
        return self._command(Verb.QUIT, "QUIT")

    def _command(self, verb: Verb, line: str) -> bytes:
        return self.group(encode_command(line), (verb,))


@lru_cache(maxsize=256)
def _state_after(state: State, verbs: tuple[Verb, ...]) -> State:
    """Return the optimistic state after a group of commands; each group is looked up in the tables once.

    Raises:
        LocalProtocolError: one of the commands is not permitted at its place.
    """
    before: Verb | None = None
    for verb in verbs:
        if before is not None and before in _ENDS_GROUP:
            raise _not_answered_error(before, verb)
        if verb not in PERMITTED[state]:
            raise LocalProtocolError(f"{verb.value} in the state {state.name.lower()}")
        before, state = verb, optimistic_state(state, verb)
    return state


def _not_answered_error(before: Verb, verb: Verb) -> LocalProtocolError:
    return LocalProtocolError(f"{verb.value} before {before.value} was answered")
