"""Every state and every command: what is permitted, and the effect of each decision."""

from __future__ import annotations

import pytest

from mailslot import Transcript
from mailslot.pop3.server import events, limits, replies
from mailslot.pop3.server.excerpt import Excerpt
from mailslot.pop3.server.maildrop import Message
from mailslot.pop3.server.offers import Offers
from mailslot.pop3.server.protocol import Pop3ServerProtocol
from mailslot.pop3.server.states import TRANSITIONS, State, out_of_order
from mailslot.pop3.states import Verb
from mailslot.wire.closing import Closing
from mailslot.wire.protocol_error import LocalProtocolError
from mailslot.wire.server_core import MAX_JUNK_COMMANDS, MAX_TURN, TurnEnded

from .play import Player, player

TO_USER = [b"USER fax\r\n"]
WAYS: dict[State, list[bytes]] = {
    State.AUTHORIZATION: [],
    State.USER: TO_USER,
    State.TRANSACTION: [*TO_USER, b"PASS open sesame\r\n"],
}
LINES = {
    Verb.CAPA: b"CAPA\r\n",
    Verb.STLS: b"STLS\r\n",
    Verb.USER: b"USER fax\r\n",
    Verb.PASS: b"PASS open sesame\r\n",
    Verb.APOP: b"APOP fax c4c9334bac560ecc979e58001b3e22fb\r\n",
    Verb.STAT: b"STAT\r\n",
    Verb.LIST: b"LIST 1\r\n",
    Verb.UIDL: b"UIDL 1\r\n",
    Verb.RETR: b"RETR 1\r\n",
    Verb.TOP: b"TOP 1 0\r\n",
    Verb.DELE: b"DELE 1\r\n",
    Verb.RSET: b"RSET\r\n",
    Verb.NOOP: b"NOOP\r\n",
    Verb.QUIT: b"QUIT\r\n",
}
# RFC 1939 sections 4 to 7, RFC 2449 section 5, RFC 2595 section 4: written down once more, by state.
MAY = {
    State.AUTHORIZATION: "CAPA STLS USER APOP QUIT",
    State.USER: "CAPA STLS USER PASS APOP QUIT",
    State.TRANSACTION: "CAPA STAT LIST UIDL RETR TOP DELE RSET NOOP QUIT",
}


def at(state: State) -> Player:
    made = player(clear_text_passwords=True)
    for line in WAYS[state]:
        made.feed(line)
    assert made.core.state is state
    made.take_sent()
    made.heard.clear()
    return made


@pytest.mark.parametrize("verb", LINES, ids=lambda verb: verb.name)
@pytest.mark.parametrize("state", MAY, ids=lambda state: state.name)
def test_commands_in_each_state(state: State, verb: Verb) -> None:
    made = at(state)
    made.feed(LINES[verb])
    sent = made.take_sent()
    permitted = verb.name in MAY[state].split()
    assert permitted is ((state, verb) in TRANSITIONS)
    if not permitted:
        assert sent == replies.encode_reply(out_of_order(state, verb))
        assert sent.startswith(b"-ERR ")
        assert made.core.state is state
        assert made.heard == []
        return
    assert sent.startswith(b"+OK")
    # The player goes on at once with the handshake, and with the message.
    after = {State.UPGRADE: State.AUTHORIZATION, State.RETRIEVAL: State.TRANSACTION}
    positive = TRANSITIONS[state, verb].positive
    assert positive is not None
    assert made.core.state is after.get(positive, positive)


@pytest.mark.parametrize(
    ("state", "verb", "event"),
    [
        (State.AUTHORIZATION, Verb.STLS, events.StartTls),
        (State.USER, Verb.STLS, events.StartTls),
        (State.USER, Verb.PASS, events.Credentials),
        (State.AUTHORIZATION, Verb.APOP, events.ApopDigest),
        (State.USER, Verb.APOP, events.ApopDigest),
        (State.TRANSACTION, Verb.RETR, events.Retrieve),
        (State.TRANSACTION, Verb.TOP, events.Retrieve),
    ],
)
def test_refusals_in_each_state(state: State, verb: Verb, event: type) -> None:
    made = at(state)
    made.refusals[event] = replies.UNAVAILABLE
    made.feed(LINES[verb])
    assert made.take_sent() == b"-ERR [SYS/TEMP] The mailbox cannot be opened now\r\n"
    assert made.core.state is TRANSITIONS[state, verb].negative
    assert made.core.refusal is replies.UNAVAILABLE


def test_our_own_faults() -> None:
    core = Pop3ServerProtocol(Offers(clear_text_passwords=True), Transcript())
    core.receive(b"USER fax\r\nPASS open sesame\r\nRETR 1\r\nQUIT\r\n")
    # Nothing is taken before the greeting.
    assert core.next_event() is None
    with pytest.raises(LocalProtocolError, match="no reply is due"):
        core.reply()
    with pytest.raises(LocalProtocolError, match="TLS is not due"):
        core.tls_started()
    core.greet()
    with pytest.raises(LocalProtocolError, match="the greeting was sent already"):
        core.greet()
    assert isinstance(core.next_event(), events.Credentials)
    with pytest.raises(LocalProtocolError, match="PASS has not been answered"):
        core.next_event()
    with pytest.raises(LocalProtocolError, match="accepted by open_maildrop"):
        core.reply()
    with pytest.raises(LocalProtocolError, match="no message is due"):
        core.send_content(b"x")
    with pytest.raises(LocalProtocolError, match="no message is due"):
        core.end_content()


def test_our_own_faults_in_a_maildrop() -> None:
    core = Pop3ServerProtocol(Offers(clear_text_passwords=True), Transcript())
    core.greet()
    core.receive(b"USER fax\r\nPASS open sesame\r\nRETR 1\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n")
    core.next_event()
    core.open_maildrop([Message(7, "u", 3)])
    assert core.next_event() == events.Retrieve(Message(7, "u", 3), whole=True)
    core.reply()
    with pytest.raises(LocalProtocolError, match="the message has not ended"):
        core.next_event()
    assert core.send_content(b"x\r\n")
    core.end_content()
    core.next_event()
    with pytest.raises(LocalProtocolError, match="open_maildrop in reply to RETR"):
        core.open_maildrop([])


def test_the_greeting_cannot_be_refused_by_mistake() -> None:
    core = Pop3ServerProtocol(Offers(), Transcript())
    with pytest.raises(LocalProtocolError, match="a refusal in reply to greeting"):
        core._answer(Verb.GREETING, replies.NOT_NOW)


def test_a_session_ends_once() -> None:
    made = player()
    made.core.close("stopped", replies.STOPPING)
    made.core.close("error", replies.INTERNAL_ERROR)
    made.drain()
    assert made.take_sent() == b"-ERR [SYS/TEMP] The server is stopping; try again soon\r\n"
    assert made.heard == [Closing("stopped")]
    made.drain()


def test_when_a_session_may_be_stopped() -> None:
    made = player(encrypted=True)
    assert made.core.is_idle
    made.feed(b"USER fax\r\nPASS x\r\n")
    assert made.core.is_idle
    made.feed(b"LIST\r\nTOP 1 0\r\nDELE 17\r\n")
    assert made.core.is_idle
    made.core.receive(b"NO")
    assert not made.core.is_idle
    made.feed(b"OP\r\n")
    assert made.core.is_idle
    # What was fetched could be fetched again.
    made.feed(b"RETR 1\r\n")
    assert not made.core.is_idle


def test_listings_do_not_collect_without_bounds() -> None:
    made = player(encrypted=True)
    made.mails = (b"x\r\n",) * 1_000
    made.feed(b"USER fax\r\nPASS x\r\n")
    made.take_sent()
    made.core.receive(b"RSET\r\n" + b"LIST\r\n" * 300)
    full = 0
    while (event := made.core.next_event()) is not None:
        assert isinstance(event, TurnEnded)
        assert not made.core.octets_to_send(at_least=limits.MAX_OUTPUT + 10_000)
        full += len(made.core.octets_to_send()) >= limits.MAX_OUTPUT
    assert full > 1


def test_commands_are_taken_in_turns() -> None:
    made = player(signed_in=True)
    made.core.receive(b"NOOP\r\n" * (MAX_TURN + 1))
    # Two were taken before, to sign in.
    assert made.core.next_event() == TurnEnded()
    assert made.core.octets_to_send().count(b"+OK") == MAX_TURN - 2
    assert made.core.next_event() is None
    assert made.core.octets_to_send().count(b"+OK") == 3


@pytest.mark.parametrize(
    ("signed_in", "commands", "most"),
    [
        (False, b"CAPA\r\n", MAX_JUNK_COMMANDS),
        (False, b"USER x\r\n", MAX_JUNK_COMMANDS),
        # Two were needed to sign in.
        (True, b"NOOP\r\n", MAX_JUNK_COMMANDS + 3 * limits.COMMANDS_PER_MESSAGE - 2),
        (True, b"RETR 1\r\n", MAX_JUNK_COMMANDS + 3 * limits.COMMANDS_PER_MESSAGE - 2),
    ],
)
def test_commands_without_end(signed_in: bool, commands: bytes, most: int) -> None:
    made = player(signed_in=signed_in, encrypted=True)
    made.feed(commands * (most + 100))
    sent = made.take_sent()
    assert sent.count(b"+OK") == most
    assert sent.endswith(b"-ERR Too many commands for so few messages\r\n")
    assert made.heard[-1] == Closing("limit")


@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
@pytest.mark.parametrize(
    ("mail", "lines", "due"),
    [
        (b"A: b\n\nx\ny\n", 1, b"A: b\n\nx\n"),
        (b"A: b\r\n\r\nx\r\ny\r\n", 1, b"A: b\r\n\r\nx\r\n"),
        (b"\r\nx\r\ny", 0, b"\r\n"),
        (b"A: b\r\n\rx\r\n\r\ny\r\n", 0, b"A: b\r\n\rx\r\n\r\n"),
        (b"no end", 3, b"no end"),
        (b"A: b\r\n\r\nx", 3, b"A: b\r\n\r\nx"),
        (b"", 0, b""),
    ],
)
def test_excerpts(mail: bytes, lines: int, due: bytes, size: int) -> None:
    excerpt = Excerpt(lines)
    taken = b"".join(excerpt.feed(mail[at : at + size]) for at in range(0, len(mail), size))
    assert taken == due
