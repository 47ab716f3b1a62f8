"""The states of an SMTP client and what moves it from one to another: all of it is in these two tables.

Rule: whatever affects the state machine stands here. Two questions are asked of it.

* May this command be sent now? `PERMITTED` answers, by the state that the session will be in once all
  commands that are still unanswered have succeeded; with PIPELINING that state runs ahead of the server.
* What does this answer do? `ANSWERED` answers, by the state that the server really is in. It also holds
  commands that were sent in a group and whose ground has gone, such as RCPT after a refused MAIL: the server
  answers each of them, and answers are matched by count alone (RFC 2920 section 3.1).
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
    SIGN_IN = auto()
    """A SASL exchange is going on and the server waits for our response."""
    SENDER = auto()
    """MAIL was taken."""
    RECIPIENTS = auto()
    """At least one RCPT was taken."""
    CONTENT = auto()
    """354: the message is due."""
    UNWANTED = auto()
    """354 though no recipient was taken: only the dot may be sent (RFC 2920 section 3.1)."""
    CHUNKS = auto()
    """At least one chunk was taken, and not the last (RFC 3030)."""
    SPOILED = auto()
    """A chunk was refused; only RSET leads on (RFC 3030 section 2)."""
    GONE = auto()
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
    END = "final dot"
    BDAT = "BDAT"
    LAST = "BDAT LAST"
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"


S, V = State, Verb

PERMITTED: Final[dict[State, frozenset[Verb]]] = {
    S.GREETING: frozenset({V.QUIT}),
    S.CONNECTED: frozenset({V.EHLO, V.HELO, V.NOOP, V.QUIT}),
    S.READY: frozenset({V.EHLO, V.STARTTLS, V.AUTH, V.MAIL, V.RSET, V.NOOP, V.QUIT}),
    S.UPGRADE: frozenset(),
    S.SIGN_IN: frozenset({V.RESPONSE, V.CANCEL}),
    S.SENDER: frozenset({V.RCPT, V.RSET, V.NOOP, V.QUIT}),
    S.RECIPIENTS: frozenset({V.RCPT, V.DATA, V.BDAT, V.LAST, V.RSET, V.NOOP, V.QUIT}),
    S.CONTENT: frozenset({V.END}),
    S.UNWANTED: frozenset({V.END}),
    S.CHUNKS: frozenset({V.BDAT, V.LAST, V.RSET, V.NOOP, V.QUIT}),
    S.SPOILED: frozenset({V.RSET, V.NOOP, V.QUIT}),
    S.GONE: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state after an answer: 2xx, 4xx or 5xx, and 3xx. None: that answer breaks the protocol."""

    done: State | None
    refused: State | None
    more: State | None = None


def _stays(state: State) -> Outcome:
    return Outcome(state, state)


ANSWERED: Final[dict[tuple[State, Verb], Outcome]] = {
    (S.GREETING, V.GREETING): Outcome(S.CONNECTED, S.GREETING),
    (S.GREETING, V.QUIT): Outcome(S.GONE, S.GONE),
    (S.CONNECTED, V.EHLO): Outcome(S.READY, S.CONNECTED),
    (S.CONNECTED, V.HELO): Outcome(S.READY, S.CONNECTED),
    (S.READY, V.EHLO): Outcome(S.READY, S.READY),
    (S.READY, V.STARTTLS): Outcome(S.UPGRADE, S.READY),
    (S.READY, V.AUTH): Outcome(S.READY, S.READY, more=S.SIGN_IN),
    (S.SIGN_IN, V.RESPONSE): Outcome(S.READY, S.READY, more=S.SIGN_IN),
    # A server that answers a cancellation with yes, or asks on, has not understood it.
    (S.SIGN_IN, V.CANCEL): Outcome(None, S.READY),
    (S.READY, V.MAIL): Outcome(S.SENDER, S.READY),
    (S.SENDER, V.RCPT): Outcome(S.RECIPIENTS, S.SENDER),
    (S.RECIPIENTS, V.RCPT): Outcome(S.RECIPIENTS, S.RECIPIENTS),
    (S.RECIPIENTS, V.DATA): Outcome(None, S.RECIPIENTS, more=S.CONTENT),
    (S.CONTENT, V.END): Outcome(S.READY, S.READY),
    (S.RECIPIENTS, V.BDAT): Outcome(S.CHUNKS, S.SPOILED),
    (S.RECIPIENTS, V.LAST): Outcome(S.READY, S.SPOILED),
    (S.CHUNKS, V.BDAT): Outcome(S.CHUNKS, S.SPOILED),
    (S.CHUNKS, V.LAST): Outcome(S.READY, S.SPOILED),
    # Sent in a group whose ground has gone.
    (S.READY, V.RCPT): _stays(S.READY),
    (S.READY, V.DATA): Outcome(None, S.READY, more=S.UNWANTED),
    (S.SENDER, V.DATA): Outcome(None, S.SENDER, more=S.UNWANTED),
    (S.UNWANTED, V.END): Outcome(S.READY, S.READY),
    # A chunk that nobody may receive: taking the last one would report as sent what reaches no one.
    (S.READY, V.BDAT): Outcome(S.SPOILED, S.SPOILED),
    (S.READY, V.LAST): Outcome(None, S.SPOILED),
    (S.SENDER, V.BDAT): Outcome(S.SPOILED, S.SPOILED),
    (S.SENDER, V.LAST): Outcome(None, S.SPOILED),
    (S.SPOILED, V.BDAT): Outcome(S.SPOILED, S.SPOILED),
    (S.SPOILED, V.LAST): Outcome(None, S.SPOILED),
    **{(state, V.NOOP): _stays(state) for state in (S.CONNECTED, S.READY, S.SENDER, S.RECIPIENTS, S.CHUNKS, S.SPOILED)},
    **{(state, V.RSET): Outcome(S.READY, None) for state in (S.SENDER, S.RECIPIENTS, S.CHUNKS)},
    # Where no transaction is open, or it has failed, some servers refuse it; none is open after that either.
    **{(state, V.RSET): _stays(S.READY) for state in (S.READY, S.SPOILED)},
    **{
        (state, V.QUIT): Outcome(S.GONE, S.GONE)
        for state in (S.CONNECTED, S.READY, S.SENDER, S.RECIPIENTS, S.CHUNKS, S.SPOILED)
    },
}


def hoped(state: State, verb: Verb) -> State:
    """Return the state once `verb` has succeeded; where it asks for more, the state in which that is due."""
    if verb is Verb.LAST:
        # Before its answer nobody knows; only what can follow a refused chunk may be sent.
        return State.SPOILED
    outcome = ANSWERED[state, verb]
    if outcome.more is not None and verb is V.DATA:
        return outcome.more
    after = outcome.done or outcome.refused
    assert after is not None  # noqa: S101 - no row of the table lacks both
    return after
