"""The states of an SMTP client, and all that moves it from one to another.

Rule: whatever affects the state machine stands in this file, in one of its two tables; the rest of the protocol reads
them.

Theory of operation
===================

A client says something and waits for the reply, and the reply alone changes the state. That would be one machine, if
it were not for PIPELINING (RFC 2920): commands may be sent in a group, before the first of them is answered. So there
are two positions in the same machine at any time:

1. The *actual* state: what the replies read so far have come to. It is where the server is.
2. The *optimistic* state: what it will be once every command that is still unanswered has succeeded.

Between groups the two are the same. Each has its table:

* `PERMITTED` says what may be sent, by the optimistic state. Anything else is our own error (`LocalProtocolError`), and
  nothing has left when it is raised.
* `TRANSITIONS` says what a reply does, by the actual state and by what it replies to: the next state after 2xx, after
  4xx or 5xx, and after 3xx. None says that a server cannot reply so: that is its error (`RemoteProtocolError`), and the
  connection is of no use any more.

Sending a command moves the optimistic state, by `optimistic_state`. A reply moves the actual state; where it is not the
one that was expected, the optimistic state is computed anew from there, over the commands still unanswered. That is why
`TRANSITIONS` has rows which no client would bring about one command at a time, such as RCPT in READY: MAIL was refused,
but RCPT had left with it, and the server replies to it too. Replies are matched to commands by their order alone
(RFC 2920 section 3.1), so that each of them must have its row.

Three states exist for the sake of such groups, or of chunks:

* NO_RECIPIENTS: DATA was sent with its recipients, all of them were refused, and still the server said 354. It waits
  for a message that must not be sent: only the final dot leads out (RFC 2920 section 3.1).
* NEEDS_RSET: a chunk was refused. Further chunks of the group are replied to, and do nothing; only RSET begins anew
  (RFC 3030 section 2).
* CHUNKS: some chunks were taken, and the last one has not been sent.

The last chunk is the one command whose success is not assumed: it ends the transaction, or needs RSET, and nobody knows
which before the reply. Its optimistic state is NEEDS_RSET, from where nothing can be sent that would be wrong in either
case.

Implementation
--------------

The commands are not told apart by their arguments, with one exception: BDAT and BDAT LAST are two verbs. What stands in
for a command has a verb as well: the greeting, to which nothing was said; a SASL response and its cancellation; the
final dot. A 421 ends the session whatever it replies to, even to nothing; it belongs to no row, and `protocol.py` goes
to CLOSED by itself.

The documentation draws its diagram from `TRANSITIONS` (`docs/generators/states.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where the session is."""

    # Members are equal only to themselves; Enum's own hash is a function in Python.
    __hash__ = object.__hash__

    GREETING = auto()
    """Connected; the server speaks first."""
    CONNECTED = auto()
    """Greeted, or TLS has just come up: EHLO is due."""
    READY = auto()
    """No transaction is open."""
    UPGRADE = auto()
    """STARTTLS was taken: nothing but TLS may come now."""
    AUTH = auto()
    """A SASL exchange is going on and the server waits for our response."""
    SENDER = auto()
    """MAIL was taken."""
    RECIPIENTS = auto()
    """At least one RCPT was taken."""
    DATA = auto()
    """354: the message is due."""
    NO_RECIPIENTS = auto()
    """354 though no recipient was taken: only the dot may be sent (RFC 2920 section 3.1)."""
    CHUNKS = auto()
    """At least one chunk was taken, and not the last (RFC 3030)."""
    NEEDS_RSET = auto()
    """A chunk was refused; only RSET leads on (RFC 3030 section 2)."""
    CLOSED = auto()
    """QUIT was answered, or the server said 421: nothing more can be said."""


class Verb(Enum):
    """What waits for an answer: a command, or what stands in for one."""

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
    """The state after an answer: 2xx, 4xx or 5xx, and 3xx. None: that answer breaks the protocol."""

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
    # A server that answers a cancellation with yes, or asks on, has not understood it.
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
    # Sent in a group whose ground has gone.
    (S.READY, V.RCPT): _stays(S.READY),
    (S.READY, V.DATA): Transition(None, S.READY, intermediate=S.NO_RECIPIENTS),
    (S.SENDER, V.DATA): Transition(None, S.SENDER, intermediate=S.NO_RECIPIENTS),
    (S.NO_RECIPIENTS, V.END_OF_DATA): Transition(S.READY, S.READY),
    # A chunk that nobody may receive: taking the last one would report as sent what reaches no one.
    (S.READY, V.BDAT): Transition(S.NEEDS_RSET, S.NEEDS_RSET),
    (S.READY, V.BDAT_LAST): Transition(None, S.NEEDS_RSET),
    (S.SENDER, V.BDAT): Transition(S.NEEDS_RSET, S.NEEDS_RSET),
    (S.SENDER, V.BDAT_LAST): Transition(None, S.NEEDS_RSET),
    (S.NEEDS_RSET, V.BDAT): Transition(S.NEEDS_RSET, S.NEEDS_RSET),
    (S.NEEDS_RSET, V.BDAT_LAST): Transition(None, S.NEEDS_RSET),
    **{(state, V.NOOP): _stays(state) for state in _BETWEEN_COMMANDS},
    **{(state, V.RSET): Transition(S.READY, None) for state in (S.SENDER, S.RECIPIENTS, S.CHUNKS)},
    # Where no transaction is open, or it has failed, some servers refuse it; none is open after that either.
    **{(state, V.RSET): _stays(S.READY) for state in (S.READY, S.NEEDS_RSET)},
    **{(state, V.QUIT): Transition(S.CLOSED, S.CLOSED) for state in _BETWEEN_COMMANDS},
}


def optimistic_state(state: State, verb: Verb) -> State:
    """Return the state once `verb` has succeeded; where it asks for more, the state in which that is due."""
    if verb is Verb.BDAT_LAST:
        # Before its answer nobody knows; only what can follow a refused chunk may be sent.
        return State.NEEDS_RSET
    outcome = TRANSITIONS[state, verb]
    if outcome.intermediate is not None and verb is V.DATA:
        return outcome.intermediate
    after = outcome.positive or outcome.negative
    assert after is not None  # noqa: S101 - no row of the table lacks both
    return after
