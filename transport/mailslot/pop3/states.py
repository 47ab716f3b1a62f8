"""The states of a POP3 client, and all that moves it from one to another.

Rule: whatever affects the state machine stands in this file, in one of its two tables and two sets. The rest of the
protocol reads them.

Theory of operation
===================

RFC 1939 section 3 has three states: AUTHORIZATION, TRANSACTION and UPDATE. A client sees them a little differently. It
waits for the greeting first; TLS and a SASL exchange stand between two commands and allow nothing else; and UPDATE is
only what the server does before it answers QUIT, so that to us it is the way from TRANSACTION to CLOSED.

A client says something, and the answer alone changes the state. With PIPELINING (RFC 2449 section 6.6) commands may be
sent before the first of them is answered, so there are two positions in the same machine at any time:

1. The *actual* state: what the answers read so far have come to.
2. The *optimistic* state: what it will be once every command that is still unanswered has succeeded.

Each has its table:

* `PERMITTED` says what may be sent, by the optimistic state; anything else is our own error (`LocalProtocolError`), and
  nothing has left when it is raised.
* `TRANSITIONS` says what a reply does, by the actual state and by what it answers: the next state after ``+OK``, after
  ``-ERR``, and after a challenge. None says that a server cannot answer so (`RemoteProtocolError`).

Unlike in SMTP, a refusal never makes the rest of a group meaningless: no command in TRANSACTION depends on the one
before, and nothing is sent behind a command that changes the state. So no row exists for the sake of a group alone.

An answer need not be one line. `LISTINGS` are followed by lines and `MESSAGES` by a message, up to a dot by itself, but
only after ``+OK``: the state changes with the first line, and the next answer begins behind the dot. LIST and UIDL of a
single message are answered by one line; we never ask so.

The documentation draws its diagram from `TRANSITIONS` (`docs/generators/states.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where the session is (RFC 1939 section 3)."""

    # Members are equal only to themselves; Enum's own hash is a function in Python.
    __hash__ = object.__hash__

    GREETING = auto()
    """Connected; the server speaks first."""
    AUTHORIZATION = auto()
    """Nobody has signed in."""
    UPGRADE = auto()
    """STLS was taken: nothing but TLS may come now (RFC 2595 section 4)."""
    AUTH = auto()
    """A SASL exchange is going on and the server waits for our response (RFC 5034 section 4)."""
    TRANSACTION = auto()
    """Signed in; the maildrop is ours."""
    CLOSED = auto()
    """QUIT was answered: nothing more can be said."""


class Verb(Enum):
    """What waits for an answer: a command, or what stands in for one."""

    __hash__ = object.__hash__

    GREETING = "greeting"
    CAPA = "CAPA"
    STLS = "STLS"
    AUTH = "AUTH"
    RESPONSE = "response"
    CANCEL = "*"
    USER = "USER"
    PASS = "PASS"  # noqa: S105 - the command's name
    STAT = "STAT"
    LIST = "LIST"
    UIDL = "UIDL"
    TOP = "TOP"
    RETR = "RETR"
    DELE = "DELE"
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"


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
    """The state after ``+OK``, ``-ERR``, and a challenge. None: that answer breaks the protocol."""

    positive: State | None
    negative: State
    intermediate: State | None = None


TRANSITIONS: Final[dict[tuple[State, Verb], Transition]] = {
    (S.GREETING, V.GREETING): Transition(S.AUTHORIZATION, S.CLOSED),
    (S.AUTHORIZATION, V.CAPA): Transition(S.AUTHORIZATION, S.AUTHORIZATION),
    (S.AUTHORIZATION, V.STLS): Transition(S.UPGRADE, S.AUTHORIZATION),
    (S.AUTHORIZATION, V.AUTH): Transition(S.TRANSACTION, S.AUTHORIZATION, intermediate=S.AUTH),
    (S.AUTH, V.RESPONSE): Transition(S.TRANSACTION, S.AUTHORIZATION, intermediate=S.AUTH),
    # A server that answers a cancellation with yes, or asks on, has not understood it.
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
