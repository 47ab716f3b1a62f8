"""The states of a POP3 client and what moves it from one to another: all of it is in these two tables.

Rule: whatever affects the state machine stands here. `PERMITTED` tells what may be sent, by the state that the
session will be in once all unanswered commands have succeeded; `ANSWERED` tells what an answer does.
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
    SIGN_IN = auto()
    """A SASL exchange is going on and the server waits for our response (RFC 5034 section 4)."""
    TRANSACTION = auto()
    """Signed in; the maildrop is ours."""
    GONE = auto()
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
    S.SIGN_IN: frozenset({V.RESPONSE, V.CANCEL}),
    S.TRANSACTION: _MAILDROP | {V.CAPA, V.QUIT},
    S.GONE: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state after ``+OK``, ``-ERR``, and a challenge. None: that answer breaks the protocol."""

    done: State | None
    refused: State
    more: State | None = None


ANSWERED: Final[dict[tuple[State, Verb], Outcome]] = {
    (S.GREETING, V.GREETING): Outcome(S.AUTHORIZATION, S.GONE),
    (S.AUTHORIZATION, V.CAPA): Outcome(S.AUTHORIZATION, S.AUTHORIZATION),
    (S.AUTHORIZATION, V.STLS): Outcome(S.UPGRADE, S.AUTHORIZATION),
    (S.AUTHORIZATION, V.AUTH): Outcome(S.TRANSACTION, S.AUTHORIZATION, more=S.SIGN_IN),
    (S.SIGN_IN, V.RESPONSE): Outcome(S.TRANSACTION, S.AUTHORIZATION, more=S.SIGN_IN),
    # A server that answers a cancellation with yes, or asks on, has not understood it.
    (S.SIGN_IN, V.CANCEL): Outcome(None, S.AUTHORIZATION),
    (S.AUTHORIZATION, V.USER): Outcome(S.AUTHORIZATION, S.AUTHORIZATION),
    (S.AUTHORIZATION, V.PASS): Outcome(S.TRANSACTION, S.AUTHORIZATION),
    (S.AUTHORIZATION, V.QUIT): Outcome(S.GONE, S.GONE),
    (S.TRANSACTION, V.QUIT): Outcome(S.GONE, S.GONE),
    **{(S.TRANSACTION, verb): Outcome(S.TRANSACTION, S.TRANSACTION) for verb in _MAILDROP | {V.CAPA}},
}


def hoped(state: State, verb: Verb) -> State:
    """Return the state once `verb` has succeeded."""
    outcome = ANSWERED[state, verb]
    return outcome.done or outcome.refused
