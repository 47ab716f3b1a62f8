"""The state machine of an SMTP server.

Rule: everything that affects the state machine is in the tables of this module; the protocol core only reads them.

Theory of operation
===================

The client sends commands, and each gets exactly one reply, in their order; our reply changes the state. Commands may
come in groups (RFC 2920), but the server need not know: it takes them from its buffer one by one, and the next one is
parsed only once the previous one is answered. So there is one position in the machine, unlike in the client, which has
to guess where the server is. The client's table (`mailslot.smtp.states`) has rows for what a refusal makes of the
rest of a group; here such a command is simply not permitted, and its row is in `OUT_OF_ORDER`.

* `TRANSITIONS` has the next state by state and command: after a 2xx reply, after 4xx or 5xx, and after 3xx. A command
  without a row is not permitted in that state. None means that we never send such a reply.
* `WAIT_BEHIND` has the commands after which nothing may be sent before their reply.
* `ACCEPTED` has the replies that accept a command.
* `OUT_OF_ORDER` has the reply to a command that is not permitted, by state and command, by command, or else a general
  one. It does not change the state.

A 421 ends the session whatever it replies to, so it has no row: `protocol.py` then sets CLOSED. The same is true of the
few violations after which the meaning of the next octets is unknown: octets after STARTTLS or DATA, a BDAT whose size
cannot be read, another protocol.

The octets of a chunk belong to BDAT as its argument does. They are taken from the buffer also where BDAT is not
permitted, and the reply follows them (RFC 3030 section 2). A refused chunk ends the transaction: the chunks that the
client has sent with it find no transaction and get 503, and the next MAIL begins a new one.

Two states differ from what RFC 5321 describes, for the sake of old devices:

* SECURED: TLS was started by STARTTLS, and the state is reset (RFC 3207 section 4.2). A client should now send EHLO
  again, but some continue with AUTH or MAIL. Nothing is gained by refusing them.
* REJECTED: the greeting was a refusal. Every command but QUIT gets 503 (RFC 5321 section 3.1), including HELO, whose
  name is recorded, since it helps to find the device.

The documentation draws its diagram from `TRANSITIONS` (`docs/generators/states.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from mailslot.smtp.server import replies
from mailslot.smtp.server.replies import reply
from mailslot.smtp.states import Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.reply import Reply


class State(Enum):
    """The state of the session."""

    # Faster than Enum's own hash, which is a Python function; members are equal only to themselves.
    __hash__ = object.__hash__

    GREETING = auto()
    """Connected; our greeting is due."""
    REJECTED = auto()
    """The greeting was a refusal; only QUIT is permitted."""
    CONNECTED = auto()
    """Greeted; HELO or EHLO is due."""
    SECURED = auto()
    """TLS was started by STARTTLS; EHLO is expected, but not required."""
    READY = auto()
    """No transaction is open."""
    UPGRADE = auto()
    """STARTTLS was accepted; the TLS handshake is due."""
    AUTH = auto()
    """In a SASL exchange; the client's response is due."""
    SENDER = auto()
    """MAIL was accepted."""
    RECIPIENTS = auto()
    """At least one RCPT was accepted."""
    DATA = auto()
    """354 was sent: the message is due."""
    CHUNKS = auto()
    """At least one chunk was accepted, but not the last (RFC 3030)."""
    CLOSED = auto()
    """After QUIT, 421 or a violation: the session is over."""


@dataclass(frozen=True, slots=True)
class Transition:
    """The state after a 2xx reply, after 4xx or 5xx, and after 3xx; None if we never send such a reply."""

    positive: State | None
    negative: State | None
    intermediate: State | None = None


S, V = State, Verb

IDLE: Final = frozenset({S.REJECTED, S.CONNECTED, S.SECURED, S.READY})
"""The states between transactions, in which a stopping server may end the session."""

_HELLO: Final = (S.CONNECTED, S.SECURED, S.READY, S.SENDER, S.RECIPIENTS, S.CHUNKS)

TRANSITIONS: Final[Mapping[tuple[State, Verb], Transition]] = {
    (S.GREETING, V.GREETING): Transition(S.CONNECTED, S.REJECTED),
    (S.REJECTED, V.QUIT): Transition(S.CLOSED, None),
    (S.READY, V.STARTTLS): Transition(S.UPGRADE, S.READY),
    (S.SECURED, V.AUTH): Transition(S.READY, S.SECURED, intermediate=S.AUTH),
    (S.READY, V.AUTH): Transition(S.READY, S.READY, intermediate=S.AUTH),
    (S.AUTH, V.RESPONSE): Transition(S.READY, S.READY, intermediate=S.AUTH),
    (S.AUTH, V.CANCEL): Transition(None, S.READY),
    (S.SECURED, V.MAIL): Transition(S.SENDER, S.SECURED),
    (S.READY, V.MAIL): Transition(S.SENDER, S.READY),
    (S.SENDER, V.RCPT): Transition(S.RECIPIENTS, S.SENDER),
    (S.RECIPIENTS, V.RCPT): Transition(S.RECIPIENTS, S.RECIPIENTS),
    (S.RECIPIENTS, V.DATA): Transition(None, S.RECIPIENTS, intermediate=S.DATA),
    (S.DATA, V.END_OF_DATA): Transition(S.READY, S.READY),
    (S.RECIPIENTS, V.BDAT): Transition(S.CHUNKS, S.READY),
    (S.RECIPIENTS, V.BDAT_LAST): Transition(S.READY, S.READY),
    (S.CHUNKS, V.BDAT): Transition(S.CHUNKS, S.READY),
    (S.CHUNKS, V.BDAT_LAST): Transition(S.READY, S.READY),
    (S.CONNECTED, V.RSET): Transition(S.CONNECTED, None),
    (S.SECURED, V.RSET): Transition(S.SECURED, None),
    **{(state, V.RSET): Transition(S.READY, None) for state in (S.READY, S.SENDER, S.RECIPIENTS, S.CHUNKS)},
    **{(state, verb): Transition(S.READY, None) for state in _HELLO for verb in (V.EHLO, V.HELO)},
    **{(state, V.NOOP): Transition(state, None) for state in _HELLO},
    **{(state, V.QUIT): Transition(S.CLOSED, None) for state in _HELLO},
}

_HELLO_FIRST: Final = reply(503, "5.5.1", "Send HELO or EHLO first")
_MAIL_FIRST: Final = reply(503, "5.5.1", "Send MAIL first")
_NOT_WITHIN_CHUNKS: Final = reply(503, "5.5.1", "Not between the chunks of a message")
_NOT_NOW: Final = reply(503, "5.5.1", "Not now")

OUT_OF_ORDER: Final[Mapping[tuple[State, Verb] | Verb, Reply]] = {
    **{(S.CONNECTED, verb): _HELLO_FIRST for verb in Verb},
    **{(S.CHUNKS, verb): _NOT_WITHIN_CHUNKS for verb in Verb},
    # RFC 5321 section 3.3 allows 503 and 554; the text is the same everywhere.
    (S.SENDER, V.DATA): reply(554, "5.5.1", "No valid recipients"),
    (S.SENDER, V.BDAT): reply(554, "5.5.1", "No valid recipients"),
    (S.SENDER, V.BDAT_LAST): reply(554, "5.5.1", "No valid recipients"),
    V.MAIL: reply(503, "5.5.1", "A message has begun; send RSET first"),
    V.RCPT: _MAIL_FIRST,
    V.DATA: _MAIL_FIRST,
    V.BDAT: _MAIL_FIRST,
    V.BDAT_LAST: _MAIL_FIRST,
}


WAIT_BEHIND: Final = frozenset({V.STARTTLS, V.DATA})
"""The commands after which a client must wait for the reply, since it changes how the next octets are read. A client
must also wait after others, such as EHLO (RFC 2920 section 3.1), but there is no harm if it does not."""

ACCEPTED: Final[Mapping[Verb, Reply]] = {
    V.STARTTLS: replies.START_TLS,
    V.AUTH: replies.SIGNED_IN,
    V.RESPONSE: replies.SIGNED_IN,
    V.MAIL: replies.SENDER_ACCEPTED,
    V.RCPT: replies.RECIPIENT_ACCEPTED,
    V.DATA: replies.SEND_MESSAGE,
    V.BDAT: replies.CHUNK_RECEIVED,
}
"""The replies that accept a command."""


def out_of_order(state: State, verb: Verb) -> Reply:
    """Return the reply to a command that is not permitted in this state."""
    if state is State.REJECTED:
        return _NOT_NOW
    return OUT_OF_ORDER.get((state, verb)) or OUT_OF_ORDER.get(verb) or _NOT_NOW
