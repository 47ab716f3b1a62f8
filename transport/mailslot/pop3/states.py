"""The state machine of a POP3 client.

Rule: everything that affects the state machine is in the two tables and two sets of this module; the protocol core only
reads them.

Theory of operation
===================

RFC 1939 section 3 has three states: AUTHORIZATION, TRANSACTION and UPDATE. A client has some more: it awaits the
greeting first, and the TLS handshake and a SASL exchange are states in which no command is allowed. UPDATE is what the
server does before it responds to QUIT; for the client it is the transition from TRANSACTION to CLOSED.

A client sends a command, and only the response changes the state. With PIPELINING (RFC 2449 section 6.6), however,
commands may be sent before the first response comes. So there are two positions in the same machine at any time:

1. The *actual* state, by the responses read so far.
2. The *optimistic* state: what the state will be once every pending command has succeeded.

Each has its table:

* `PERMITTED` has the commands that may be sent, by the optimistic state. Any other is our own error
  (`LocalProtocolError`), raised before anything is sent.
* `TRANSITIONS` has the effect of a response, by the actual state and the command: the next state after ``+OK``, after
  ``-ERR``, and after a challenge. None means that such a response violates the protocol (`RemoteProtocolError`).

Unlike in SMTP, a refusal never invalidates the rest of a group: no command in TRANSACTION depends on the previous one,
and commands that change the state are never pipelined. So there are no rows for groups alone.

A response may have several lines. After ``+OK``, `LISTINGS` are followed by lines and `MESSAGES` by a message, up to a
single dot. The state changes with the status line, and the next response begins after the dot. LIST and UIDL for a
single message have one-line responses; we never send them.

The documentation draws its diagram from `TRANSITIONS` (`docs/generators/states.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class State(Enum):
    """The state of the session (RFC 1939 section 3)."""

    # Faster than Enum's own hash, which is a Python function; members are equal only to themselves.
    __hash__ = object.__hash__

    GREETING = auto()
    """Connected; the server speaks first."""
    AUTHORIZATION = auto()
    """Not authenticated."""
    UPGRADE = auto()
    """STLS was accepted; the TLS handshake is due (RFC 2595 section 4)."""
    AUTH = auto()
    """In a SASL exchange; our response is due (RFC 5034 section 4)."""
    TRANSACTION = auto()
    """Authenticated, with the maildrop locked for us."""
    CLOSED = auto()
    """After the response to QUIT: the session is over."""


class Verb(Enum):
    """A command, or something else that gets a response, such as a SASL response; or what only a server needs."""

    __hash__ = object.__hash__

    GREETING = "greeting"
    CAPA = "CAPA"
    STLS = "STLS"
    AUTH = "AUTH"
    RESPONSE = "response"
    CANCEL = "*"
    USER = "USER"
    PASS = "PASS"  # noqa: S105 - the command's name
    APOP = "APOP"
    STAT = "STAT"
    LIST = "LIST"
    UIDL = "UIDL"
    TOP = "TOP"
    RETR = "RETR"
    DELE = "DELE"
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"
    END_OF_MESSAGE = "end of message"


LISTINGS: Final = frozenset({Verb.CAPA, Verb.LIST, Verb.UIDL})
"""Their ``+OK`` is followed by lines."""

MESSAGES: Final = frozenset({Verb.TOP, Verb.RETR})
"""Their ``+OK`` is followed by a message's octets."""

S, V = State, Verb

_MAILDROP: Final = frozenset({V.STAT, V.LIST, V.UIDL, V.TOP, V.RETR, V.DELE, V.RSET, V.NOOP})

PERMITTED: Final[dict[State, frozenset[Verb]]] = {
    S.GREETING: frozenset(),
    S.AUTHORIZATION: frozenset({V.CAPA, V.STLS, V.AUTH, V.USER, V.PASS, V.QUIT}),
    S.UPGRADE: frozenset(),
    S.AUTH: frozenset({V.RESPONSE, V.CANCEL}),
    S.TRANSACTION: _MAILDROP | {V.CAPA, V.QUIT},
    S.CLOSED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Transition:
    """The state after ``+OK``, ``-ERR`` and a challenge; None if such a response violates the protocol."""

    positive: State | None
    negative: State
    intermediate: State | None = None


TRANSITIONS: Final[dict[tuple[State, Verb], Transition]] = {
    (S.GREETING, V.GREETING): Transition(S.AUTHORIZATION, S.CLOSED),
    (S.AUTHORIZATION, V.CAPA): Transition(S.AUTHORIZATION, S.AUTHORIZATION),
    (S.AUTHORIZATION, V.STLS): Transition(S.UPGRADE, S.AUTHORIZATION),
    (S.AUTHORIZATION, V.AUTH): Transition(S.TRANSACTION, S.AUTHORIZATION, intermediate=S.AUTH),
    (S.AUTH, V.RESPONSE): Transition(S.TRANSACTION, S.AUTHORIZATION, intermediate=S.AUTH),
    # ``+OK`` or a further challenge means that the server has not understood the cancellation.
    (S.AUTH, V.CANCEL): Transition(None, S.AUTHORIZATION),
    (S.AUTHORIZATION, V.USER): Transition(S.AUTHORIZATION, S.AUTHORIZATION),
    (S.AUTHORIZATION, V.PASS): Transition(S.TRANSACTION, S.AUTHORIZATION),
    (S.AUTHORIZATION, V.QUIT): Transition(S.CLOSED, S.CLOSED),
    (S.TRANSACTION, V.QUIT): Transition(S.CLOSED, S.CLOSED),
    **{(S.TRANSACTION, verb): Transition(S.TRANSACTION, S.TRANSACTION) for verb in _MAILDROP | {V.CAPA}},
}


def optimistic_state(state: State, verb: Verb) -> State:
    """Return the state once `verb` has succeeded."""
    outcome = TRANSITIONS[state, verb]
    return outcome.positive or outcome.negative
