"""The state machine of an SMTP client.

Rule: everything that affects the state machine is in the two tables of this module; the protocol core only reads them.

Theory of operation
===================

A client sends a command and waits for the reply, and only the reply changes the state. With PIPELINING (RFC 2920),
however, commands may be sent in a group, before the first reply comes. So there are two positions in the same machine
at any time:

1. The *actual* state, by the replies read so far. This is the server's state.
2. The *optimistic* state: what the state will be once every pending command has succeeded.

Between groups the two are equal. Each has its table:

* `PERMITTED` has the commands that may be sent, by the optimistic state. Any other is our own error
  (`LocalProtocolError`), raised before anything is sent.
* `TRANSITIONS` has the effect of a reply, by the actual state and the command: the next state after 2xx, after 4xx or
  5xx, and after 3xx. None means that such a reply violates the protocol (`RemoteProtocolError`); the connection is then
  unusable.

Sending a command moves the optimistic state, by `optimistic_state`. A reply moves the actual state; if it is not the
expected one, the optimistic state is recomputed from there over the commands still pending. That is why `TRANSITIONS`
has rows that never occur with one command at a time, such as RCPT in READY: MAIL was refused, but RCPT had been sent
with it, and the server replies to it as well. Replies are matched to commands by their order alone (RFC 2920 section
3.1), so each of them needs its row.

Three states exist only because of such groups, or of chunks:

* NO_RECIPIENTS: DATA was sent in one group with its recipients, all of them were refused, and still the server replied
  354. It waits for a message that must not be sent; only the final dot may follow (RFC 2920 section 3.1).
* NEEDS_RSET: a chunk was refused. Further chunks of the group get a reply but have no effect; only RSET helps
  (RFC 3030 section 2).
* CHUNKS: some chunks were accepted, and the last one has not been sent.

The last chunk is the only command whose success is not assumed: it either completes the transaction or leads to
NEEDS_RSET, and only the reply tells which. Its optimistic state is NEEDS_RSET, in which only commands are permitted
that are correct in both cases.

Implementation
--------------

The arguments of commands do not matter, with one exception: BDAT and BDAT LAST are two verbs. Some verbs are not
commands but get a reply as well: the greeting, for which nothing was sent; a SASL response and its cancellation; the
final dot. A 421 ends the session whatever it replies to, even if it is unsolicited, so it has no row: `protocol.py`
then sets CLOSED.

The documentation draws its diagram from `TRANSITIONS` (`docs/generators/states.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class State(Enum):
    """The state of the session."""

    # Faster than Enum's own hash, which is a Python function; members are equal only to themselves.
    __hash__ = object.__hash__

    GREETING = auto()
    """Connected; the server speaks first."""
    CONNECTED = auto()
    """Greeted, or TLS has just come up: EHLO is due."""
    READY = auto()
    """No transaction is open."""
    UPGRADE = auto()
    """STARTTLS was accepted; the TLS handshake is due."""
    AUTH = auto()
    """In a SASL exchange; our response is due."""
    SENDER = auto()
    """MAIL was accepted."""
    RECIPIENTS = auto()
    """At least one RCPT was accepted."""
    DATA = auto()
    """354: the message is due."""
    NO_RECIPIENTS = auto()
    """354 although no recipient was accepted: only the final dot may be sent (RFC 2920 section 3.1)."""
    CHUNKS = auto()
    """At least one chunk was accepted, but not the last (RFC 3030)."""
    NEEDS_RSET = auto()
    """A chunk was refused; only RSET helps (RFC 3030 section 2)."""
    CLOSED = auto()
    """After the reply to QUIT, or after 421: the session is over."""


class Verb(Enum):
    """A command, or something else that gets a reply, such as the final dot."""

    __hash__ = object.__hash__

    GREETING = "greeting"
    EHLO = "EHLO"
    HELO = "HELO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    RESPONSE = "response"
    CANCEL = "*"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    END_OF_DATA = "final dot"
    BDAT = "BDAT"
    BDAT_LAST = "BDAT LAST"
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"


S, V = State, Verb

PERMITTED: Final[dict[State, frozenset[Verb]]] = {
    S.GREETING: frozenset({V.QUIT}),
    S.CONNECTED: frozenset({V.EHLO, V.HELO, V.NOOP, V.QUIT}),
    S.READY: frozenset({V.EHLO, V.STARTTLS, V.AUTH, V.MAIL, V.RSET, V.NOOP, V.QUIT}),
    S.UPGRADE: frozenset(),
    S.AUTH: frozenset({V.RESPONSE, V.CANCEL}),
    S.SENDER: frozenset({V.RCPT, V.RSET, V.NOOP, V.QUIT}),
    S.RECIPIENTS: frozenset({V.RCPT, V.DATA, V.BDAT, V.BDAT_LAST, V.RSET, V.NOOP, V.QUIT}),
    S.DATA: frozenset({V.END_OF_DATA}),
    S.NO_RECIPIENTS: frozenset({V.END_OF_DATA}),
    S.CHUNKS: frozenset({V.BDAT, V.BDAT_LAST, V.RSET, V.NOOP, V.QUIT}),
    S.NEEDS_RSET: frozenset({V.RSET, V.NOOP, V.QUIT}),
    S.CLOSED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Transition:
    """The state after 2xx, after 4xx or 5xx, and after 3xx; None if such a reply violates the protocol."""

    positive: State | None
    negative: State | None
    intermediate: State | None = None


def _stays(state: State) -> Transition:
    return Transition(state, state)


_BETWEEN_COMMANDS: Final = (S.CONNECTED, S.READY, S.SENDER, S.RECIPIENTS, S.CHUNKS, S.NEEDS_RSET)

TRANSITIONS: Final[dict[tuple[State, Verb], Transition]] = {
    (S.GREETING, V.GREETING): Transition(S.CONNECTED, S.GREETING),
    (S.GREETING, V.QUIT): Transition(S.CLOSED, S.CLOSED),
    (S.CONNECTED, V.EHLO): Transition(S.READY, S.CONNECTED),
    (S.CONNECTED, V.HELO): Transition(S.READY, S.CONNECTED),
    (S.READY, V.EHLO): Transition(S.READY, S.READY),
    (S.READY, V.STARTTLS): Transition(S.UPGRADE, S.READY),
    (S.READY, V.AUTH): Transition(S.READY, S.READY, intermediate=S.AUTH),
    (S.AUTH, V.RESPONSE): Transition(S.READY, S.READY, intermediate=S.AUTH),
    # A 2xx or 3xx reply to a cancellation means that the server has not understood it.
    (S.AUTH, V.CANCEL): Transition(None, S.READY),
    (S.READY, V.MAIL): Transition(S.SENDER, S.READY),
    (S.SENDER, V.RCPT): Transition(S.RECIPIENTS, S.SENDER),
    (S.RECIPIENTS, V.RCPT): Transition(S.RECIPIENTS, S.RECIPIENTS),
    (S.RECIPIENTS, V.DATA): Transition(None, S.RECIPIENTS, intermediate=S.DATA),
    (S.DATA, V.END_OF_DATA): Transition(S.READY, S.READY),
    (S.RECIPIENTS, V.BDAT): Transition(S.CHUNKS, S.NEEDS_RSET),
    (S.RECIPIENTS, V.BDAT_LAST): Transition(S.READY, S.NEEDS_RSET),
    (S.CHUNKS, V.BDAT): Transition(S.CHUNKS, S.NEEDS_RSET),
    (S.CHUNKS, V.BDAT_LAST): Transition(S.READY, S.NEEDS_RSET),
    # Sent in a group in which an earlier command was refused.
    (S.READY, V.RCPT): _stays(S.READY),
    (S.READY, V.DATA): Transition(None, S.READY, intermediate=S.NO_RECIPIENTS),
    (S.SENDER, V.DATA): Transition(None, S.SENDER, intermediate=S.NO_RECIPIENTS),
    (S.NO_RECIPIENTS, V.END_OF_DATA): Transition(S.READY, S.READY),
    # A chunk without recipients: accepting the last one would report as sent what nobody receives.
    (S.READY, V.BDAT): Transition(S.NEEDS_RSET, S.NEEDS_RSET),
    (S.READY, V.BDAT_LAST): Transition(None, S.NEEDS_RSET),
    (S.SENDER, V.BDAT): Transition(S.NEEDS_RSET, S.NEEDS_RSET),
    (S.SENDER, V.BDAT_LAST): Transition(None, S.NEEDS_RSET),
    (S.NEEDS_RSET, V.BDAT): Transition(S.NEEDS_RSET, S.NEEDS_RSET),
    (S.NEEDS_RSET, V.BDAT_LAST): Transition(None, S.NEEDS_RSET),
    **{(state, V.NOOP): _stays(state) for state in _BETWEEN_COMMANDS},
    **{(state, V.RSET): Transition(S.READY, None) for state in (S.SENDER, S.RECIPIENTS, S.CHUNKS)},
    # Some servers refuse RSET without an open transaction, or after a failed one; none is open afterwards in any case.
    **{(state, V.RSET): _stays(S.READY) for state in (S.READY, S.NEEDS_RSET)},
    **{(state, V.QUIT): Transition(S.CLOSED, S.CLOSED) for state in _BETWEEN_COMMANDS},
}


def _expected(verb: Verb, outcome: Transition) -> State:
    if verb is V.BDAT_LAST:
        # Its success is not assumed: only what may follow a refused chunk is permitted.
        return S.NEEDS_RSET
    after = outcome.intermediate if verb is V.DATA else outcome.positive or outcome.negative
    assert after is not None  # noqa: S101 - every row has one of them
    return after


_EXPECTED: Final = {(state, verb): _expected(verb, outcome) for (state, verb), outcome in TRANSITIONS.items()}


def optimistic_state(state: State, verb: Verb) -> State:
    """Return the state once `verb` has succeeded; for DATA, the state in which the message is due."""
    return _EXPECTED[state, verb]
