"""Every state and every command: what is permitted, and the effect of each decision."""

from __future__ import annotations

import pytest

from mailslot import Transcript
from mailslot.smtp.server import events, replies
from mailslot.smtp.server.protocol import SmtpServerProtocol
from mailslot.smtp.server.states import IDLE, TRANSITIONS, State, out_of_order
from mailslot.smtp.states import Verb
from mailslot.wire.closing import Closing
from mailslot.wire.protocol_error import LocalProtocolError

from .play import Player, offers, player

TO_READY = [b"EHLO me\r\n"]
TO_SENDER = [*TO_READY, b"MAIL FROM:<a@example.com>\r\n"]
TO_RECIPIENTS = [*TO_SENDER, b"RCPT TO:<b@example.com>\r\n"]
WAYS: dict[State, list[bytes]] = {
    State.CONNECTED: [],
    State.SECURED: [*TO_READY, b"STARTTLS\r\n"],
    State.READY: TO_READY,
    State.AUTH: [*TO_READY, b"AUTH LOGIN\r\n"],
    State.SENDER: TO_SENDER,
    State.RECIPIENTS: TO_RECIPIENTS,
    State.DATA: [*TO_RECIPIENTS, b"DATA\r\n"],
    State.CHUNKS: [*TO_RECIPIENTS, b"BDAT 1\r\nx"],
    State.CLOSED: [b"QUIT\r\n"],
}
LINES = {
    Verb.EHLO: b"EHLO me\r\n",
    Verb.HELO: b"HELO me\r\n",
    Verb.STARTTLS: b"STARTTLS\r\n",
    Verb.AUTH: b"AUTH PLAIN AGEAYg==\r\n",
    Verb.MAIL: b"MAIL FROM:<>\r\n",
    Verb.RCPT: b"RCPT TO:<c@example.com>\r\n",
    Verb.DATA: b"DATA\r\n",
    Verb.BDAT: b"BDAT 1\r\nx",
    Verb.BDAT_LAST: b"BDAT 1 LAST\r\nx",
    Verb.RSET: b"RSET\r\n",
    Verb.NOOP: b"NOOP\r\n",
    Verb.QUIT: b"QUIT\r\n",
}
BETWEEN_COMMANDS = (State.CONNECTED, State.SECURED, State.READY, State.SENDER, State.RECIPIENTS, State.CHUNKS)

# RFC 5321 section 4.1.4, RFC 3207 section 4, RFC 4954 section 4, RFC 3030 section 2: written down once more, by state.
MAY = {
    State.CONNECTED: "EHLO HELO RSET NOOP QUIT",
    State.SECURED: "EHLO HELO AUTH MAIL RSET NOOP QUIT",
    State.READY: "EHLO HELO STARTTLS AUTH MAIL RSET NOOP QUIT",
    State.SENDER: "EHLO HELO RCPT RSET NOOP QUIT",
    State.RECIPIENTS: "EHLO HELO RCPT DATA BDAT BDAT_LAST RSET NOOP QUIT",
    State.CHUNKS: "EHLO HELO BDAT BDAT_LAST RSET NOOP QUIT",
}
# The command that accepts a state's transition, and where the refusal of an event leads.
REFUSED = replies.reply(550, "5.7.1", "No")


def at(state: State) -> Player:
    made = player(clear_text_passwords=True)
    for line in WAYS[state]:
        made.feed(line)
    assert made.core.state is state
    made.take_sent()
    made.heard.clear()
    return made


@pytest.mark.parametrize("verb", LINES, ids=lambda verb: verb.name)
@pytest.mark.parametrize("state", BETWEEN_COMMANDS, ids=lambda state: state.name)
def test_commands_in_each_state(state: State, verb: Verb) -> None:
    made = at(state)
    made.feed(LINES[verb])
    sent = made.take_sent()
    assert sent.count(b"\r\n") == sum(line[3:4] != b"-" for line in sent.splitlines()) + sent.count(b"250-")
    permitted = verb.name in MAY[state].split()
    assert permitted is ((state, verb) in TRANSITIONS)
    if permitted:
        outcome = TRANSITIONS[state, verb]
        after = outcome.intermediate or outcome.positive
        if verb is Verb.AUTH:
            after = outcome.positive
        # The player goes on at once with the handshake.
        assert made.core.state is (State.SECURED if after is State.UPGRADE else after)
        assert sent[:1] in {b"2", b"3"}
    else:
        refusal = out_of_order(state, verb)
        assert sent == replies.encode_reply(refusal)
        assert refusal.code in {503, 554}
        assert made.core.state is state
        assert made.heard == []


@pytest.mark.parametrize(
    ("state", "verb", "event"),
    [
        (State.READY, Verb.STARTTLS, events.StartTls),
        (State.SECURED, Verb.AUTH, events.Credentials),
        (State.READY, Verb.AUTH, events.Credentials),
        (State.SECURED, Verb.MAIL, events.Mail),
        (State.READY, Verb.MAIL, events.Mail),
        (State.SENDER, Verb.RCPT, events.Recipient),
        (State.RECIPIENTS, Verb.RCPT, events.Recipient),
        (State.RECIPIENTS, Verb.DATA, events.Begin),
        (State.RECIPIENTS, Verb.BDAT, events.Begin),
        (State.RECIPIENTS, Verb.BDAT_LAST, events.Begin),
        (State.RECIPIENTS, Verb.BDAT, events.ChunkReceived),
        (State.CHUNKS, Verb.BDAT, events.ChunkReceived),
        (State.CHUNKS, Verb.BDAT_LAST, events.EndOfMessage),
        (State.RECIPIENTS, Verb.BDAT_LAST, events.EndOfMessage),
        (State.CONNECTED, Verb.EHLO, events.Hello),
    ],
    ids=lambda value: getattr(value, "name", getattr(value, "__name__", "")),
)
@pytest.mark.parametrize("code", [452, 550, 421])
def test_refusals_in_each_state(state: State, verb: Verb, event: type, code: int) -> None:
    made = at(state)
    refusal = replies.reply(code, f"{code // 100}.7.1", "No")
    made.refusals[event] = refusal
    if verb is Verb.EHLO and code != 421:
        with pytest.raises(LocalProtocolError, match="in reply to EHLO"):
            made.feed(LINES[verb])
        return
    made.feed(LINES[verb])
    assert made.take_sent() == replies.encode_reply(refusal)
    if code == 421:
        assert made.core.state is State.CLOSED
        assert made.heard[-1] == Closing("limit")
    else:
        assert made.core.state is TRANSITIONS[state, verb].negative


@pytest.mark.parametrize("line", [b"EHLO me\r\n", b"HELO\r\n", b"NOOP\r\n", b"MAIL FROM:<>\r\n", b"STARTTLS\r\n"])
def test_after_a_refused_greeting(line: bytes) -> None:
    made = Player(SmtpServerProtocol(offers(), Transcript()))
    made.core.greet(replies.NOT_ALLOWED_HERE)
    made.drain()
    assert made.take_sent() == b"554 5.7.1 This device is not known here\r\n"
    made.feed(line)
    assert made.take_sent() == b"503 5.5.1 Not now\r\n"
    assert made.heard == ([events.Hello("me" if b"me" in line else "", line[:1] == b"E")] if b"LO" in line else [])
    assert made.core.state is State.REJECTED
    assert made.core.is_idle
    made.feed(b"QUIT\r\n")
    assert made.take_sent() == b"221 2.0.0 Goodbye\r\n"
    assert made.heard[-1] == Closing("quit")


def test_the_tables_are_consistent() -> None:
    """Each state but the first is reached, each but the last is left, and those between transactions take QUIT."""
    sources = {state for state, _ in TRANSITIONS}
    reached = {after for each in TRANSITIONS.values() for after in (each.positive, each.negative, each.intermediate)}
    assert sources == set(State) - {State.CLOSED, State.UPGRADE}
    assert reached - {None} == set(State) - {State.GREETING, State.SECURED} | {State.SECURED}
    assert all((state, Verb.QUIT) in TRANSITIONS for state in IDLE)


@pytest.mark.parametrize("state", WAYS, ids=lambda state: state.name)
def test_idle_between_transactions_alone(state: State) -> None:
    assert at(state).core.is_idle is (state in {State.CONNECTED, State.SECURED, State.READY})


@pytest.mark.parametrize("state", WAYS, ids=lambda state: state.name)
def test_closed_in_any_state(state: State) -> None:
    made = at(state)
    made.core.close("stopped", replies.STOPPING)
    made.drain()
    if state is State.CLOSED:
        assert made.take_sent() == b""
        return
    assert made.take_sent() == b"421 4.3.2 The server is stopping; try again soon\r\n"
    aborted = [events.Aborted()] if state in {State.DATA, State.CHUNKS} else []
    assert made.heard == [*aborted, Closing("stopped")]
    made.core.receive(b"NOOP\r\n")
    assert made.core.next_event() is None


def test_our_own_mistakes() -> None:
    core = player().core
    with pytest.raises(LocalProtocolError, match="greeting"):
        core.greet()
    with pytest.raises(LocalProtocolError, match="no reply"):
        core.reply()
    with pytest.raises(LocalProtocolError, match="TLS"):
        core.tls_started()
    core.receive(b"EHLO me\r\n")
    assert core.next_event() == events.Hello("me", esmtp=True)
    with pytest.raises(LocalProtocolError, match="EHLO has not been answered"):
        core.next_event()
    core.reply()
    core.receive(b"MAIL FROM:<>\r\nRCPT TO:<a@example.com>\r\nBDAT 0 LAST\r\n")
    for _ in range(3):
        core.next_event()
        core.reply()
    assert core.next_event() == events.EndOfMessage(0)
    with pytest.raises(LocalProtocolError, match="of its own"):
        core.reply()


def test_nothing_is_read_before_the_greeting() -> None:
    core = SmtpServerProtocol(offers(), Transcript())
    core.receive(b"EHLO me\r\n")
    assert core.next_event() is None
    core.greet()
    assert core.next_event() == events.Hello("me", esmtp=True)


def test_octets_that_come_before_the_handshake() -> None:
    core = player().core
    core.receive(b"EHLO me\r\n")
    core.next_event()
    core.reply()
    core.receive(b"STARTTLS\r\n")
    core.next_event()
    core.reply()
    core.receive(b"MAIL FROM:<>\r\n")
    assert core.next_event() is None
    with pytest.raises(LocalProtocolError):
        core.tls_started()
