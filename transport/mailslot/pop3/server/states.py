"""The state machine of a POP3 server.

Rule: everything that affects the state machine is in the tables of this module; the protocol core only reads them.

Theory of operation
===================

RFC 1939 section 3 has three states: AUTHORIZATION, TRANSACTION and UPDATE. The client sends commands, and each gets
exactly one response, in their order; our response changes the state. Commands may come in groups (RFC 2449 section
6.6), but the server need not know: it takes them from its buffer one by one, and parses the next one only after it has
answered the previous one. So there is one position in the machine, unlike in the client (`mailslot.pop3.states`).

* `TRANSITIONS` has the next state by state and command: after ``+OK``, after ``-ERR``, and after a challenge. A
  command without a row is not permitted in that state, and changes nothing. None means that we never send such a
  response.
* `OUT_OF_ORDER` has the response to a command that is not permitted, by state, else a general one.
* `WAIT_BEHIND` has the commands after which nothing may be sent before their response.

Five states are finer than those of RFC 1939:

* USER is AUTHORIZATION after a USER command, so that PASS is permitted. A wrong password leads back, and so does STLS,
  after which the previous dialogue does not count (RFC 2595 section 4).
* UPGRADE: STLS was accepted, and the TLS handshake is due.
* AUTH: in a SASL exchange (RFC 5034), if the server offers mechanisms.
* RETRIEVAL: the response to RETR or TOP is being sent. It may take long, and commands that come meanwhile wait.
* CLOSED: the session is over.

In UPDATE, between QUIT and our response, the backend deletes the marked messages. Any other end of a session, such as a
lost connection, deletes nothing (RFC 1939 section 6). If no message is marked, QUIT is answered at once.

The documentation draws its diagram from `TRANSITIONS` (`docs/generators/states.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from mailslot.pop3.server import replies
from mailslot.pop3.states import Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.reply import Reply


class State(Enum):
    """The state of the session."""

    # Faster than Enum's own hash, which is a Python function; members are equal only to themselves.
    __hash__ = object.__hash__

    GREETING = auto()
    """Connected; our greeting is due."""
    AUTHORIZATION = auto()
    """Nobody has signed in."""
    USER = auto()
    """Nobody has signed in; a user name was given, and PASS is due."""
    UPGRADE = auto()
    """STLS was accepted; the TLS handshake is due."""
    AUTH = auto()
    """In a SASL exchange; the client's response is due."""
    TRANSACTION = auto()
    """A user has signed in, and the maildrop is locked for this session."""
    RETRIEVAL = auto()
    """A message is being sent."""
    CLOSED = auto()
    """After QUIT or a violation: the session is over."""


@dataclass(frozen=True, slots=True)
class Transition:
    """The state after ``+OK``, after ``-ERR``, and after a challenge; None if we never send such a response."""

    positive: State | None
    negative: State | None
    intermediate: State | None = None


S, V = State, Verb

NOT_SIGNED_IN: Final = frozenset({S.AUTHORIZATION, S.USER})
"""The states in which a client can sign in."""

_IN_MAILDROP: Final = (V.STAT, V.LIST, V.UIDL, V.DELE)

TRANSITIONS: Final[Mapping[tuple[State, Verb], Transition]] = {
    (S.GREETING, V.GREETING): Transition(S.AUTHORIZATION, None),
    (S.USER, V.PASS): Transition(S.TRANSACTION, S.AUTHORIZATION),
    **{(state, V.USER): Transition(S.USER, state) for state in NOT_SIGNED_IN},
    **{(state, V.APOP): Transition(S.TRANSACTION, S.AUTHORIZATION) for state in NOT_SIGNED_IN},
    **{(state, V.AUTH): Transition(S.TRANSACTION, state, intermediate=S.AUTH) for state in NOT_SIGNED_IN},
    (S.AUTH, V.RESPONSE): Transition(S.TRANSACTION, S.AUTHORIZATION, intermediate=S.AUTH),
    **{(state, V.STLS): Transition(S.UPGRADE, state) for state in NOT_SIGNED_IN},
    **{(state, V.QUIT): Transition(S.CLOSED, None) for state in NOT_SIGNED_IN},
    **{(state, V.CAPA): Transition(state, None) for state in (*NOT_SIGNED_IN, S.TRANSACTION)},
    **{(S.TRANSACTION, verb): Transition(S.TRANSACTION, S.TRANSACTION) for verb in _IN_MAILDROP},
    **{(S.TRANSACTION, verb): Transition(S.RETRIEVAL, S.TRANSACTION) for verb in (V.RETR, V.TOP)},
    (S.RETRIEVAL, V.END_OF_MESSAGE): Transition(S.TRANSACTION, None),
    **{(S.TRANSACTION, verb): Transition(S.TRANSACTION, None) for verb in (V.RSET, V.NOOP)},
    (S.TRANSACTION, V.QUIT): Transition(S.CLOSED, S.CLOSED),
}

OUT_OF_ORDER: Final[Mapping[tuple[State, Verb], Reply]] = {
    (S.AUTHORIZATION, V.PASS): replies.USER_FIRST,
    **{
        (state, verb): replies.SIGN_IN_FIRST
        for state in NOT_SIGNED_IN
        for verb in (*_IN_MAILDROP, V.RETR, V.TOP, V.RSET, V.NOOP)
    },
    **{(S.TRANSACTION, verb): replies.SIGNED_IN_ALREADY for verb in (V.USER, V.PASS, V.APOP, V.AUTH)},
}

WAIT_BEHIND: Final = frozenset({V.STLS})
"""The commands after which a client must wait for the response, since it changes how the next octets are read."""


def out_of_order(state: State, verb: Verb) -> Reply:
    """Return the response to a command that is not permitted in this state."""
    return OUT_OF_ORDER.get((state, verb), replies.NOT_NOW)
