"""The core: what it sends, what it accepts, and what it refuses."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot.smtp.address import Address
from mailslot.smtp.protocol import Event, ReplyReceived, ServerClosing, SmtpProtocol
from mailslot.smtp.states import State, Verb
from mailslot.wire.protocol_error import LocalProtocolError, RemoteProtocolError

A = Address("a@example.com", "a@example.com")


def ready(*offers: str, encrypted: bool = False) -> SmtpProtocol:
    core = SmtpProtocol()
    core.encrypted = encrypted
    core.receive(b"220 mail\r\n")
    core.next_event()
    core.ehlo("me")
    lines = ["250-mail", *(f"250-{offer}" for offer in offers), "250 HELP"]
    core.receive("".join(f"{line}\r\n" for line in lines).encode())
    core.next_event()
    return core


def content(*offers: str) -> SmtpProtocol:
    core = ready(*offers)
    for say in (lambda: core.mail(A), lambda: core.rcpt(A), core.data):
        say()
        core.receive(b"354 go\r\n" if say == core.data else b"250 ok\r\n")
        core.next_event()
    return core


def test_commands() -> None:
    core = SmtpProtocol()
    assert core.pending == 1
    core.receive(b"220 mail\r\n")
    core.next_event()
    assert core.ehlo("[IPv6:2001:db8::7]") == b"EHLO [IPv6:2001:db8::7]\r\n"
    core.receive(b"500 what\r\n")
    core.next_event()
    assert core.helo("[192.0.2.7]") == b"HELO [192.0.2.7]\r\n"
    core.receive(b"250 mail\r\n250")
    core.next_event()
    assert core.capabilities == {}
    core.receive(b"\r\n")


def test_null_sender_and_parameters() -> None:
    core = ready("PIPELINING")
    assert core.mail(Address("", ""), " SIZE=7 BODY=8BITMIME") == b"MAIL FROM:<> SIZE=7 BODY=8BITMIME\r\n"
    assert core.rcpt(Address("ü@b", "ü@b"), " NOTIFY=NEVER") == "RCPT TO:<ü@b> NOTIFY=NEVER\r\n".encode()


@pytest.mark.parametrize("initial", [None, b"", b"\0me\0secret"])
def test_auth(initial: bytes | None) -> None:
    line = ready("AUTH PLAIN").auth("PLAIN", initial)
    argument = {None: b"", b"": b" ="}.get(initial, b" " + base64.b64encode(initial or b""))
    assert line == b"AUTH PLAIN" + argument + b"\r\n"


def test_authentication() -> None:
    core = ready("AUTH XOAUTH2")
    core.auth("XOAUTH2")
    core.receive(b"334 \r\n")
    core.next_event()
    assert core.state is State.AUTH
    long = b"x" * 12_288
    assert core.respond_to_challenge(long) == base64.b64encode(long) + b"\r\n"
    core.receive(b"334 e30=\r\n")
    core.next_event()
    assert core.respond_to_challenge(b"") == b"\r\n"
    core.receive(b"535 no\r\n")
    core.next_event()
    assert not core.authenticated
    core.auth("XOAUTH2")
    core.receive(b"334 \r\n")
    core.next_event()
    assert core.cancel_auth() == b"*\r\n"
    core.receive(b"501 ok\r\n")
    core.next_event()
    core.auth("XOAUTH2", b"x")
    core.receive(b"235 ok\r\n")
    core.next_event()
    assert core.authenticated
    with pytest.raises(LocalProtocolError, match="second sign-in"):
        core.auth("XOAUTH2")


def test_success_after_a_cancellation_is_an_error() -> None:
    core = ready("AUTH XOAUTH2")
    core.auth("XOAUTH2")
    core.receive(b"334 \r\n")
    core.next_event()
    core.cancel_auth()
    core.receive(b"235 welcome\r\n")
    with pytest.raises(RemoteProtocolError):
        core.next_event()
    assert not core.authenticated


def test_starttls_forgets_everything() -> None:
    core = ready("STARTTLS", "SIZE 10", "AUTH PLAIN")
    core.starttls()
    core.receive(b"220 go\r\n")
    assert isinstance(core.next_event(), ReplyReceived)
    core.tls_started()
    assert core.state is State.CONNECTED
    assert core.encrypted
    assert core.capabilities == {}
    core.ehlo("me")
    core.receive(b"250-mail\r\n250 STARTTLS\r\n")
    core.next_event()
    with pytest.raises(LocalProtocolError, match="TLS is up"):
        core.starttls()


def test_starttls_requires_its_capability() -> None:
    with pytest.raises(LocalProtocolError, match="not offered"):
        ready("AUTH PLAIN").starttls()
    with pytest.raises(LocalProtocolError, match="without STARTTLS"):
        ready("STARTTLS").tls_started()


@pytest.mark.parametrize("spare", [b"2", b"250 ok\r\n", b"\0"])
@pytest.mark.parametrize("later", [False, True])
def test_octets_before_the_handshake(spare: bytes, later: bool) -> None:
    core = ready("STARTTLS")
    core.starttls()
    core.receive(b"220 go\r\n" + (b"" if later else spare))
    core.next_event()
    if later:
        core.receive(spare)
    assert core.next_event() is None
    with pytest.raises(RemoteProtocolError) as caught:
        core.tls_started()
    assert caught.value.cause == "tls_injection"
    assert not core.encrypted


def test_a_multiline_reply_before_the_handshake_is_not_an_injection() -> None:
    core = ready("STARTTLS")
    core.starttls()
    for octet in b"220-go\r\n220 ahead\r\n":
        core.receive(bytes([octet]))
        core.next_event()
    core.tls_started()


def test_an_unsolicited_reply() -> None:
    core = ready("PIPELINING")
    assert core.received.unread == 0
    core.receive(b"2")
    assert core.received.unread == 1
    with pytest.raises(RemoteProtocolError, match="before anything was asked"):
        core.noop()
    assert core.pending == 0


def test_an_extra_reply() -> None:
    core = ready("PIPELINING")
    core.receive(b"250 ok\r\n")
    with pytest.raises(RemoteProtocolError, match="a reply too many: 250"):
        core.next_event()


def test_an_unsolicited_421() -> None:
    core = ready("PIPELINING")
    core.receive(b"421 bye\r\n")
    event = core.next_event()
    assert isinstance(event, ServerClosing)
    assert event.reply.code == 421
    assert core.state is State.CLOSED
    with pytest.raises(LocalProtocolError):
        core.noop()


def test_a_421_ends_a_group() -> None:
    core = ready("PIPELINING")
    core.mail(A)
    core.rcpt(A)
    core.data()
    core.receive(b"250 ok\r\n421 bye\r\n")
    answers = list(iter(core.next_event, None))
    assert [event.reply.code for event in answers] == [250, 421]
    assert core.state is State.CLOSED
    assert core.pending == 0


@pytest.mark.parametrize("reply", [b"554 no\r\n", b"452 full\r\n", b"421 bye\r\n"])
def test_a_refusal_during_the_content(reply: bytes) -> None:
    core = content()
    core.content(b"a")
    core.receive(reply)
    event = core.next_event()
    assert isinstance(event, ReplyReceived)
    assert event.verb is Verb.END_OF_DATA
    assert core.state is State.CLOSED
    with pytest.raises(LocalProtocolError):
        core.content(b"b")
    with pytest.raises(LocalProtocolError):
        core.end_of_data()


def test_a_success_reply_during_the_content() -> None:
    core = content()
    core.content(b"a")
    core.receive(b"250 queued\r\n")
    with pytest.raises(RemoteProtocolError, match="too many"):
        core.next_event()


def test_a_success_reply_together_with_354_is_an_error() -> None:
    core = ready("PIPELINING")
    core.mail(A)
    core.rcpt(A)
    core.data()
    core.receive(b"250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n")
    for _ in range(3):
        core.next_event()
    with pytest.raises(RemoteProtocolError):
        core.end_of_data()


def test_content_only_after_354() -> None:
    with pytest.raises(LocalProtocolError):
        ready().content(b"a")
    with pytest.raises(LocalProtocolError):
        ready().end_of_data()
    core = content("PIPELINING")
    core.end_of_data()
    with pytest.raises(LocalProtocolError):
        core.content(b"more")
    with pytest.raises(LocalProtocolError):
        core.end_of_data()


@given(st.lists(st.binary(max_size=9)))
def test_chunks(pieces: list[bytes]) -> None:
    core = ready("CHUNKING", "PIPELINING")
    core.mail(A)
    core.rcpt(A)
    received = b""
    for piece in [*pieces, b""]:
        octets = core.bdat(piece, last=False)
        command, _, body = octets.partition(b"\r\n")
        assert command == b"BDAT %d" % len(body)
        received += body
    command, _, body = core.bdat(b"end", last=True).partition(b"\r\n")
    assert command == b"BDAT %d LAST" % len(body)
    received += body
    assert received.endswith(b"end\r\n")
    assert received.replace(b"\r\n", b"").count(b"\r") == received.replace(b"\r\n", b"").count(b"\n") == 0
    assert core.sent_size == len(received)


def test_an_empty_message_in_chunks() -> None:
    core = ready("CHUNKING", "PIPELINING")
    core.mail(A)
    core.rcpt(A)
    assert core.bdat(b"", last=True) == b"BDAT 0 LAST\r\n"
    assert core.sent_size == 0


def test_rset_forgets_half_a_chunk() -> None:
    core = ready("CHUNKING", "PIPELINING")
    core.mail(A)
    core.rcpt(A)
    core.bdat(b"a\r", last=False)
    core.rset()
    core.mail(A)
    core.rcpt(A)
    assert core.bdat(b"\n", last=True) == b"BDAT 2 LAST\r\n\r\n"


def test_bdat_requires_its_capability() -> None:
    core = ready("PIPELINING")
    core.mail(A)
    core.rcpt(A)
    with pytest.raises(LocalProtocolError, match="not offered"):
        core.bdat(b"x", last=True)


@pytest.mark.parametrize("name", ["a\r\nMAIL FROM:<>", "a\nb", "a\rb", "a\0b", "a\x7fb", "a\u2028b", "a\x85b"])
def test_commands_cannot_contain_line_breaks(name: str) -> None:
    core = SmtpProtocol()
    core.receive(b"220 mail\r\n")
    core.next_event()
    with pytest.raises(LocalProtocolError, match="control character"):
        core.ehlo(name)
    core = ready("PIPELINING", "AUTH PLAIN")
    for say in (
        lambda: core.mail(Address(name, name)),
        lambda: core.mail(A, f" ENVID={name}"),
        lambda: core.auth(name),
    ):
        with pytest.raises(LocalProtocolError, match="control character"):
            say()
    core.mail(A)
    with pytest.raises(LocalProtocolError, match="control character"):
        core.rcpt(Address(name, name))
    assert core.pending == 1


def test_command_length_limits() -> None:
    core = SmtpProtocol()
    core.receive(b"220 mail\r\n")
    core.next_event()
    with pytest.raises(LocalProtocolError, match="over 512"):
        core.ehlo("x" * 506)
    assert len(core.ehlo("x" * 505)) == 512
    core = ready("AUTH PLAIN")
    fits = 512 - len("AUTH PLAIN \r\n")
    assert len(core.auth("PLAIN", b"x" * (fits // 4 * 3))) <= 512
    with pytest.raises(LocalProtocolError, match="over 512"):
        ready("AUTH PLAIN").auth("PLAIN", b"x" * (fits // 4 * 3 + 1))


# Everything at random.

VERBS = {
    "mail": Verb.MAIL,
    "rcpt": Verb.RCPT,
    "data": Verb.DATA,
    "end": Verb.END_OF_DATA,
    "bdat": Verb.BDAT,
    "last": Verb.BDAT_LAST,
    "rset": Verb.RSET,
    "noop": Verb.NOOP,
    "ehlo": Verb.EHLO,
    "auth": Verb.AUTH,
    "respond": Verb.RESPONSE,
    "cancel": Verb.CANCEL,
    "quit": Verb.QUIT,
}

SAYINGS = {
    "mail": lambda core: core.mail(A),
    "rcpt": lambda core: core.rcpt(A),
    "data": lambda core: core.data(),
    "end": lambda core: core.end_of_data(),
    "bdat": lambda core: core.bdat(b"x", last=False),
    "last": lambda core: core.bdat(b"x", last=True),
    "rset": lambda core: core.rset(),
    "noop": lambda core: core.noop(),
    "ehlo": lambda core: core.ehlo("me"),
    "auth": lambda core: core.auth("X"),
    "respond": lambda core: core.respond_to_challenge(b"x"),
    "cancel": lambda core: core.cancel_auth(),
    "quit": lambda core: core.quit(),
}
moves = st.lists(
    st.one_of(
        st.sampled_from(sorted(SAYINGS)),
        st.sampled_from([235, 250, 334, 354, 421, 452, 550]),
        st.sampled_from([b"2", b"5", b"\r\n", b"x"]),
    ),
    max_size=40,
)


@given(moves)
def test_any_sequence_is_an_event_or_a_protocol_error(script: list[str | int | bytes]) -> None:
    """And a message is only ever answered with yes where its end was given out."""
    core = ready("PIPELINING", "CHUNKING", "AUTH X")
    said: list[str] = []
    heard: list[Event] = []
    try:
        for move in script:
            if isinstance(move, str):
                try:
                    octets = SAYINGS[move](core)
                except LocalProtocolError:
                    continue
                assert octets.endswith((b"\r\n", b"x"))
                said.append(move)
            else:
                core.receive(move if isinstance(move, bytes) else b"%d ok\r\n" % move)
                heard += iter(core.next_event, None)
    except RemoteProtocolError:
        pass
    taken = [
        event
        for event in heard
        if isinstance(event, ReplyReceived)
        and event.verb in {Verb.END_OF_DATA, Verb.BDAT_LAST}
        and event.reply.positive
    ]
    assert len(taken) <= said.count("end") + said.count("last")
    answered = [event.verb for event in heard if isinstance(event, ReplyReceived)]
    asked = [VERBS[name] for name in said]
    # Answers belong to what was said by count alone; only an early refusal answers what was not said yet.
    early = answered[-1:] == [Verb.END_OF_DATA] and len(answered) > len(asked)
    assert answered[: len(answered) - early] == asked[: len(answered) - early]
