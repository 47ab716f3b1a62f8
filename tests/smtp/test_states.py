"""Every state and every command: what is allowed, and the effect of each reply."""

from __future__ import annotations

import pytest

from mailslot.smtp.address import Address
from mailslot.smtp.protocol import _ENDS_GROUP, ReplyReceived, SmtpProtocol
from mailslot.smtp.states import PERMITTED, TRANSITIONS, State, Verb, optimistic_state
from mailslot.wire.protocol_error import LocalProtocolError, RemoteProtocolError

A = Address("a@example.com", "a@example.com")
EHLO = b"250-mail\r\n250-STARTTLS\r\n250-CHUNKING\r\n250 AUTH LOGIN\r\n"
PIPELINING = EHLO.replace(b"STARTTLS", b"STARTTLS\r\n250-PIPELINING")

# How to come to each state: what is said, and what the server answers to it.
GREETED = [(None, b"220 mail\r\n")]
READY = [*GREETED, ("ehlo", EHLO)]
SENDER = [*READY, ("mail", b"250 ok\r\n")]
RECIPIENTS = [*SENDER, ("rcpt", b"250 ok\r\n")]
WAYS: dict[State, list[tuple[str | None, bytes]]] = {
    State.GREETING: [],
    State.CONNECTED: GREETED,
    State.READY: READY,
    State.UPGRADE: [*READY, ("starttls", b"220 go\r\n")],
    State.AUTH: [*READY, ("auth", b"334 \r\n")],
    State.SENDER: SENDER,
    State.RECIPIENTS: RECIPIENTS,
    State.DATA: [*RECIPIENTS, ("data", b"354 go\r\n")],
    State.CHUNKS: [*RECIPIENTS, ("bdat", b"250 ok\r\n")],
    State.NEEDS_RSET: [*RECIPIENTS, ("bdat", b"452 full\r\n")],
    State.CLOSED: [*READY, ("quit", b"221 bye\r\n")],
}

SAY = {
    "ehlo": lambda core: core.ehlo("[192.0.2.7]"),
    "helo": lambda core: core.helo("[192.0.2.7]"),
    "starttls": lambda core: core.starttls(),
    "auth": lambda core: core.auth("LOGIN"),
    "response": lambda core: core.respond_to_challenge(b"x"),
    "cancel": lambda core: core.cancel_auth(),
    "mail": lambda core: core.mail(A),
    "rcpt": lambda core: core.rcpt(A),
    "data": lambda core: core.data(),
    "end": lambda core: core.end_of_data(),
    "bdat": lambda core: core.bdat(b"x", last=False),
    "last": lambda core: core.bdat(b"x", last=True),
    "rset": lambda core: core.rset(),
    "noop": lambda core: core.noop(),
    "quit": lambda core: core.quit(),
}
VERBS = {
    "ehlo": Verb.EHLO,
    "helo": Verb.HELO,
    "starttls": Verb.STARTTLS,
    "auth": Verb.AUTH,
    "response": Verb.RESPONSE,
    "cancel": Verb.CANCEL,
    "mail": Verb.MAIL,
    "rcpt": Verb.RCPT,
    "data": Verb.DATA,
    "end": Verb.END_OF_DATA,
    "bdat": Verb.BDAT,
    "last": Verb.BDAT_LAST,
    "rset": Verb.RSET,
    "noop": Verb.NOOP,
    "quit": Verb.QUIT,
}

# RFC 5321 section 4.1.4, RFC 3207 section 4, RFC 4954 section 4, RFC 3030 section 2: written down once more, by state.
MAY = {
    State.GREETING: "",
    State.CONNECTED: "ehlo helo noop quit",
    State.READY: "ehlo starttls auth mail rset noop quit",
    State.UPGRADE: "",
    State.AUTH: "response cancel",
    State.SENDER: "rcpt rset noop quit",
    State.RECIPIENTS: "rcpt data bdat last rset noop quit",
    State.DATA: "end",
    State.CHUNKS: "bdat last rset noop quit",
    State.NEEDS_RSET: "rset noop quit",
    State.CLOSED: "",
}


def at(state: State) -> SmtpProtocol:
    core = SmtpProtocol()
    for said, answered in WAYS[state]:
        if said is not None:
            SAY[said](core)
        core.receive(answered)
        assert isinstance(core.next_event(), ReplyReceived)
    assert core.state is state
    return core


@pytest.mark.parametrize("name", SAY)
@pytest.mark.parametrize("state", WAYS, ids=lambda state: state.name)
def test_commands_allowed_in_each_state(state: State, name: str) -> None:
    core = at(state)
    waiting = core.pending
    if name in MAY[state].split():
        assert SAY[name](core).endswith(
            b"\r\n" if name not in {"bdat", "last"} else b"x" if name == "bdat" else b"\r\n"
        )
        assert core.pending == waiting + 1
    else:
        with pytest.raises(LocalProtocolError):
            SAY[name](core)
        assert core.pending == waiting
        assert core.state is state


@pytest.mark.parametrize("code", [221, 250, 334, 354, 399, 421, 450, 550])
@pytest.mark.parametrize(
    ("state", "name"),
    [(state, name) for state, names in MAY.items() for name in names.split()],
    ids=lambda value: getattr(value, "name", value),
)
def test_transitions_by_replies(state: State, name: str, code: int) -> None:
    core = at(state)
    SAY[name](core)
    core.receive(b"%d ok\r\n" % code)
    outcome = TRANSITIONS[state, VERBS[name]]
    # Of 3yz, only the code that a command knows asks for more (RFC 5321 section 3.3, RFC 4954 section 4).
    asks_on = code == {"data": 354, "auth": 334, "response": 334}.get(name)
    after = (
        outcome.positive
        if code < 300
        else outcome.negative
        if code >= 400
        else outcome.intermediate
        if asks_on
        else None
    )
    if code == 421:
        after = State.CLOSED
    if after is None:
        with pytest.raises(RemoteProtocolError, match=f"the reply {code} to"):
            core.next_event()
        return
    event = core.next_event()
    assert isinstance(event, ReplyReceived)
    assert event.verb is VERBS[name]
    assert core.state is after
    assert core.pending == 0


def test_the_tables_are_consistent() -> None:
    """What may be said has an answer, and each state is reached and left as the tables say."""
    assert set(PERMITTED) == set(State)
    for state, verbs in PERMITTED.items():
        for verb in verbs:
            assert (state, verb) in TRANSITIONS
            assert optimistic_state(state, verb) in State
    for (state, verb), outcome in TRANSITIONS.items():
        if verb in _ENDS_GROUP:
            continue
        # Whatever was sent behind `verb` in hope has an answer in the state that came instead.
        for after in {outcome.positive, outcome.negative, outcome.intermediate} - {None}:
            for behind in PERMITTED[optimistic_state(state, verb)]:
                assert (after, behind) in TRANSITIONS, (state, verb, after, behind)


def test_groups_require_pipelining() -> None:
    core = at(State.READY)
    core.mail(A)
    with pytest.raises(LocalProtocolError, match="RCPT before MAIL was answered"):
        core.rcpt(A)


@pytest.mark.parametrize("last", ["data", "noop", "quit", "ehlo", "auth", "starttls"])
def test_the_last_command_of_a_group(last: str) -> None:
    core = SmtpProtocol()
    core.receive(b"220 mail\r\n")
    core.next_event()
    core.ehlo("me")
    core.receive(PIPELINING)
    core.next_event()
    if last == "data":
        core.mail(A)
        core.rcpt(A)
    SAY[last](core)
    for say in SAY.values():
        with pytest.raises(LocalProtocolError):
            say(core)


def test_two_transactions_in_groups() -> None:
    core = SmtpProtocol()
    core.receive(b"220 mail\r\n")
    core.next_event()
    core.ehlo("me")
    core.receive(PIPELINING)
    core.next_event()
    group = core.mail(A) + core.rcpt(A) + core.rcpt(A) + core.data()
    assert group.count(b"\r\n") == 4
    assert core.pending == 4
    assert core.state is State.READY
    core.receive(b"250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n")
    verbs = [
        (event.verb, event.reply.code) for event in iter(core.next_event, None) if isinstance(event, ReplyReceived)
    ]
    assert verbs == [(Verb.MAIL, 250), (Verb.RCPT, 550), (Verb.RCPT, 250), (Verb.DATA, 354)]
    assert core.content(b".a\r") == b"..a"
    assert core.content(b"\nb") == b"\r\nb"
    end = core.end_of_data()
    assert end == b"\r\n.\r\n"
    assert core.sent_size == 7
    core.mail(A)
    core.rcpt(A)
    core.data()
    assert core.pending == 4
    core.receive(b"250 queued\r\n")
    event = core.next_event()
    assert isinstance(event, ReplyReceived)
    assert event.verb is Verb.END_OF_DATA


def test_the_reply_to_mail_decides_the_meaning_of_the_group() -> None:
    core = SmtpProtocol()
    core.receive(b"220 mail\r\n")
    core.next_event()
    core.ehlo("me")
    core.receive(PIPELINING)
    core.next_event()
    core.mail(A)
    core.rcpt(A)
    core.data()
    core.receive(b"550 no\r\n503 no\r\n354 but go\r\n")
    codes = [event.reply.code for event in iter(core.next_event, None)]
    assert codes == [550, 503, 354]
    assert core.state is State.NO_RECIPIENTS
    with pytest.raises(LocalProtocolError):
        core.content(b"x")
    assert core.end_of_data() == b".\r\n"
    core.receive(b"554 nobody\r\n")
    core.next_event()
    assert core.state is State.READY


@pytest.mark.parametrize("taken", [b"250 ok\r\n", b"354 go\r\n"])
def test_a_last_chunk_without_recipients_is_never_accepted(taken: bytes) -> None:
    core = SmtpProtocol()
    core.receive(b"220 mail\r\n")
    core.next_event()
    core.ehlo("me")
    core.receive(PIPELINING)
    core.next_event()
    core.mail(A)
    core.rcpt(A)
    core.bdat(b"x", last=True)
    core.receive(b"250 ok\r\n550 no\r\n" + taken)
    core.next_event()
    core.next_event()
    with pytest.raises(RemoteProtocolError):
        core.next_event()
