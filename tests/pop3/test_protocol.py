"""The core without I/O: the commands of each state, and the effect of each reply."""

from __future__ import annotations

import base64
import re
import time
import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailslot.pop3 import limits
from mailslot.pop3.protocol import (
    ChallengeReceived,
    LineReceived,
    OctetsReceived,
    Pop3Protocol,
    ResponseComplete,
    StatusReceived,
)
from mailslot.pop3.states import PERMITTED, TRANSITIONS, State, Verb
from mailslot.wire.protocol_error import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mailslot.pop3.protocol import Event

PIPELINING = b"PIPELINING\r\n"

COMMANDS: dict[Verb, tuple[Callable[[Pop3Protocol], bytes], bytes]] = {
    Verb.CAPA: (lambda p: p.capa(), b"CAPA\r\n"),
    Verb.STLS: (lambda p: p.stls(), b"STLS\r\n"),
    Verb.AUTH: (lambda p: p.auth("XOAUTH2"), b"AUTH XOAUTH2\r\n"),
    Verb.RESPONSE: (lambda p: p.respond_to_challenge(b"r"), b"cg==\r\n"),
    Verb.CANCEL: (lambda p: p.cancel_auth(), b"*\r\n"),
    Verb.USER: (lambda p: p.user("u"), b"USER u\r\n"),
    Verb.PASS: (lambda p: p.password(" p  w "), b"PASS  p  w \r\n"),
    Verb.STAT: (lambda p: p.stat(), b"STAT\r\n"),
    Verb.LIST: (lambda p: p.list(), b"LIST\r\n"),
    Verb.UIDL: (lambda p: p.uidl(), b"UIDL\r\n"),
    Verb.TOP: (lambda p: p.top(7, 0), b"TOP 7 0\r\n"),
    Verb.RETR: (lambda p: p.retr(7), b"RETR 7\r\n"),
    Verb.DELE: (lambda p: p.dele(7), b"DELE 7\r\n"),
    Verb.RSET: (lambda p: p.rset(), b"RSET\r\n"),
    Verb.NOOP: (lambda p: p.noop(), b"NOOP\r\n"),
    Verb.QUIT: (lambda p: p.quit(), b"QUIT\r\n"),
}

# RFC 1939 sections 4 to 6, RFC 2449 section 5, RFC 2595 section 4, RFC 5034 section 4.
ALLOWED = {
    State.GREETING: "",
    State.AUTHORIZATION: "CAPA STLS AUTH USER PASS QUIT",
    State.UPGRADE: "",
    State.AUTH: "RESPONSE CANCEL",
    State.TRANSACTION: "CAPA STAT LIST UIDL TOP RETR DELE RSET NOOP QUIT",
    State.CLOSED: "",
}


def events(protocol: Pop3Protocol, octets: bytes = b"") -> list[Event]:
    protocol.receive(octets)
    found: list[Event] = []
    while (event := protocol.next_event()) is not None:
        found.append(event)
    return found


def answer(protocol: Pop3Protocol, octets: bytes) -> StatusReceived:
    """Return the first event, which is an answer."""
    first = events(protocol, octets)[0]
    assert isinstance(first, StatusReceived)
    return first


def greeted(capabilities: bytes = b"") -> Pop3Protocol:
    protocol = Pop3Protocol()
    answer(protocol, b"+OK ready\r\n")
    if capabilities:
        protocol.capa()
        events(protocol, b"+OK\r\n" + capabilities + b".\r\n")
    return protocol


def signed_in(capabilities: bytes = b"") -> Pop3Protocol:
    protocol = greeted(capabilities)
    protocol.password("p")
    answer(protocol, b"+OK\r\n")
    return protocol


def in_state(state: State) -> Pop3Protocol:
    if state is State.GREETING:
        return Pop3Protocol()
    if state is State.TRANSACTION:
        return signed_in()
    protocol = greeted()
    if state is State.UPGRADE:
        protocol.stls()
        answer(protocol, b"+OK\r\n")
    elif state is State.AUTH:
        protocol.auth("XOAUTH2")
        assert events(protocol, b"+ \r\n") == [ChallengeReceived("")]
    elif state is State.CLOSED:
        protocol.quit()
        answer(protocol, b"+OK\r\n")
    assert protocol.state is state
    return protocol


class TestStates:
    @pytest.mark.parametrize("state", State)
    @pytest.mark.parametrize("verb", COMMANDS)
    def test_every_verb_in_every_state(self, state: State, verb: Verb) -> None:
        protocol = in_state(state)
        ask, line = COMMANDS[verb]
        if verb.name in ALLOWED[state].split():
            assert ask(protocol) == line
            assert protocol.pending == 1
        else:
            before = protocol.pending
            with pytest.raises(LocalProtocolError):
                ask(protocol)
            assert (protocol.state, protocol.pending) == (state, before)

    @pytest.mark.parametrize("state", State)
    @pytest.mark.parametrize("verb", COMMANDS)
    @pytest.mark.parametrize("said", [b"+OK x\r\n", b"-ERR x\r\n", b"+ eA==\r\n"], ids=["yes", "no", "challenge"])
    def test_every_reply(self, state: State, verb: Verb, said: bytes) -> None:
        if verb.name not in ALLOWED[state].split():
            return
        protocol = in_state(state)
        COMMANDS[verb][0](protocol)
        challenged, positive = said.startswith(b"+ "), said.startswith(b"+OK")
        if (challenged and verb not in {Verb.AUTH, Verb.RESPONSE}) or (positive and verb is Verb.CANCEL):
            with pytest.raises(RemoteProtocolError):
                events(protocol, said)
            return
        first = events(protocol, said)[0]
        if challenged:
            after = State.AUTH
            assert first == ChallengeReceived("eA==")
        else:
            assert isinstance(first, StatusReceived)
            assert (first.verb, first.reply.positive, first.reply.text) == (verb, positive, "x")
            after = {
                (Verb.STLS, True): State.UPGRADE,
                (Verb.AUTH, True): State.TRANSACTION,
                (Verb.RESPONSE, True): State.TRANSACTION,
                (Verb.PASS, True): State.TRANSACTION,
                (Verb.RESPONSE, False): State.AUTHORIZATION,
                (Verb.CANCEL, False): State.AUTHORIZATION,
                (Verb.QUIT, True): State.CLOSED,
                (Verb.QUIT, False): State.CLOSED,
            }.get((verb, positive), state)
        assert protocol.state is after
        assert protocol.in_multiline_response is (positive and verb.name in ["CAPA", "LIST", "UIDL", "TOP", "RETR"])
        assert protocol.pending == 0

    def test_the_tables_are_complete(self) -> None:
        assert set(PERMITTED) == set(State)
        permitted = {(state, verb) for state, verbs in PERMITTED.items() for verb in verbs}
        assert set(TRANSITIONS) == permitted | {(State.GREETING, Verb.GREETING)}

    @pytest.mark.parametrize("said", [b"+OK\r\n", b"-ERR busy\r\n"])
    def test_the_greeting(self, said: bytes) -> None:
        protocol = Pop3Protocol()
        assert protocol.pending == 1
        assert answer(protocol, said).verb is Verb.GREETING
        assert protocol.state is (State.AUTHORIZATION if said == b"+OK\r\n" else State.CLOSED)

    @pytest.mark.parametrize("state", [State.AUTHORIZATION, State.AUTH, State.TRANSACTION])
    def test_unsolicited_replies(self, state: State) -> None:
        protocol = in_state(state)
        with pytest.raises(RemoteProtocolError, match="answers nothing"):
            events(protocol, b"+OK surprise\r\n")
        protocol = in_state(state)
        protocol.receive(b"+")
        with pytest.raises(RemoteProtocolError, match="before anything was asked"):
            COMMANDS[Verb.RESPONSE if state is State.AUTH else Verb.QUIT][0](protocol)

    def test_nothing_is_received_after_the_end(self) -> None:
        protocol = in_state(State.CLOSED)
        with pytest.raises(RemoteProtocolError):
            events(protocol, b"+OK more\r\n")


class TestTls:
    def test_stls_discards_the_capabilities(self) -> None:
        protocol = greeted(b"STLS\r\nSASL PLAIN\r\n")
        protocol.stls()
        answer(protocol, b"+OK\r\n")
        protocol.tls_started()
        assert (protocol.encrypted, protocol.state, len(protocol.capabilities)) == (True, State.AUTHORIZATION, 0)
        with pytest.raises(LocalProtocolError):
            protocol.stls()
        assert protocol.capa() == b"CAPA\r\n"

    @pytest.mark.parametrize("more", [b"+", b"+OK\r\n", b"\x00", b"+OK\r\nSASL PLAIN\r\n.\r\n"])
    def test_octets_before_the_handshake(self, more: bytes) -> None:
        """PT-03; RFC 2595 section 4."""
        protocol = greeted()
        protocol.stls()
        assert len(events(protocol, b"+OK Begin TLS\r\n" + more)) == 1
        with pytest.raises(RemoteProtocolError) as caught:
            protocol.tls_started()
        assert caught.value.cause == "tls_injection"
        assert not protocol.encrypted

    def test_a_reply_to_stls_before_it_was_sent(self) -> None:
        protocol = greeted()
        protocol.capa()
        protocol.receive(b"+OK\r\nSTLS\r\n.\r\n+OK Begin TLS\r\n")
        while not isinstance(protocol.next_event(), ResponseComplete):
            pass
        with pytest.raises(RemoteProtocolError) as caught:
            protocol.stls()
        assert caught.value.cause == "tls_injection"

    def test_tls_without_an_offer_of_stls(self) -> None:
        with pytest.raises(LocalProtocolError):
            greeted().tls_started()
        with pytest.raises(LocalProtocolError):
            Pop3Protocol().tls_started()


class TestSignIn:
    @pytest.mark.parametrize(
        ("initial", "line"),
        [(None, b"AUTH PLAIN\r\n"), (b"", b"AUTH PLAIN =\r\n"), (b"\0u\0p", b"AUTH PLAIN AHUAcA==\r\n")],
    )
    def test_initial_response(self, initial: bytes | None, line: bytes) -> None:
        """RFC 5034 section 4."""
        assert greeted().auth("PLAIN", initial) == line

    def test_long_sasl_responses(self) -> None:
        protocol = in_state(State.AUTH)
        assert protocol.respond_to_challenge(b"x" * 6_000) == base64.b64encode(b"x" * 6_000) + b"\r\n"

    def test_an_empty_sasl_response(self) -> None:
        assert in_state(State.AUTH).respond_to_challenge(b"") == b"\r\n"

    def test_long_sasl_challenges(self) -> None:
        protocol = in_state(State.AUTH)
        protocol.respond_to_challenge(b"")
        assert events(protocol, b"+ " + b"A" * 12_288 + b"\r\n") == [ChallengeReceived("A" * 12_288)]

    def test_authenticating_again_after_a_refusal(self) -> None:
        protocol = in_state(State.AUTH)
        protocol.respond_to_challenge(b"")
        answer(protocol, b"-ERR [AUTH] no\r\n")
        protocol.auth("PLAIN", b"")
        answer(protocol, b"+OK\r\n")
        assert protocol.state is State.TRANSACTION


class TestCommands:
    def test_the_line_limit(self) -> None:
        """RFC 2449 section 4: 255 octets with CRLF."""
        room = limits.MAX_COMMAND - len("PASS \r\n")
        assert len(greeted().password("x" * room)) == 255
        for too_long in ("x" * (room + 1), "ü" * (room // 2 + 1)):
            protocol = greeted()
            with pytest.raises(LocalProtocolError, match="255") as caught:
                protocol.password(too_long)
            assert "xx" not in str(caught.value)
            assert protocol.pending == 0

    @pytest.mark.parametrize("octet", [*range(32), 127])
    def test_no_control_character_is_sent(self, octet: int) -> None:
        for ask in (
            lambda p: p.user(f"a{chr(octet)}QUIT"),
            lambda p: p.password(f"a{chr(octet)}QUIT"),
            lambda p: p.auth(f"PLAIN{chr(octet)}QUIT"),
        ):
            protocol = greeted()
            with pytest.raises(LocalProtocolError, match="control character"):
                ask(protocol)
            assert protocol.pending == 0

    @pytest.mark.parametrize("password", ["pass\u00a0word", "пароль", "a\u2003b", "\u200d"])
    def test_other_characters_are_sent(self, password: str) -> None:
        assert greeted().password(password) == f"PASS {password}\r\n".encode()


class TestListings:
    def test_the_lines_of_a_listing(self) -> None:
        protocol = signed_in()
        protocol.uidl()
        assert events(protocol, b"+OK\r\n1 a\r\n..2\r\n.\r\n")[1:] == [
            LineReceived(Verb.UIDL, "1 a"),
            LineReceived(Verb.UIDL, ".2"),
            ResponseComplete(Verb.UIDL),
        ]
        assert not protocol.in_multiline_response

    def test_capabilities_change_only_with_a_complete_reply(self) -> None:
        protocol = greeted(b"TOP\r\n")
        protocol.capa()
        events(protocol, b"+OK\r\nUIDL\r\n")
        assert set(protocol.capabilities) == {"TOP"}
        events(protocol, b".\r\n")
        assert set(protocol.capabilities) == {"UIDL"}
        protocol.capa()
        events(protocol, b"-ERR what?\r\n")
        assert set(protocol.capabilities) == set()

    @pytest.mark.parametrize(
        ("ask", "count"), [(Pop3Protocol.capa, limits.MAX_CAPABILITIES), (Pop3Protocol.list, limits.MAX_ENTRIES)]
    )
    def test_endless_listing_lines(self, ask: Callable[[Pop3Protocol], bytes], count: int) -> None:
        protocol = signed_in()
        ask(protocol)
        answer(protocol, b"+OK\r\n")
        assert len(events(protocol, b"1 1\r\n" * count)) == count
        with pytest.raises(RemoteProtocolError, match="without end"):
            events(protocol, b"1 1\r\n")

    def test_an_endless_listing_is_bounded_in_octets(self) -> None:
        protocol = signed_in()
        protocol.list()
        answer(protocol, b"+OK\r\n")
        line = b"1 " + b"9" * 1_000 + b"\r\n"
        with pytest.raises(RemoteProtocolError, match="without end"):  # noqa: PT012 - any of it may be where it fails
            for _ in range(limits.MAX_LISTING // len(line) + 1):
                events(protocol, line)

    @pytest.mark.parametrize("over", [0, 1])
    def test_the_line_limit_in_a_listing(self, over: int) -> None:
        protocol = signed_in()
        protocol.list()
        answer(protocol, b"+OK\r\n")
        octets = b"x" * (limits.MAX_LISTING_LINE - 2 + over) + b"\r\n"
        if over:
            with pytest.raises(RemoteProtocolError):
                events(protocol, octets)
        else:
            assert len(events(protocol, octets)) == 1

    def test_parsing_20000_lines_is_linear(self) -> None:
        protocol = signed_in()
        protocol.uidl()
        octets = b"+OK\r\n" + b"".join(b"%d %032x\r\n" % (n, n) for n in range(1, 20_001)) + b".\r\n"
        started = time.process_time()
        found = sum(len(events(protocol, octets[at : at + 65_536])) for at in range(0, len(octets), 65_536))
        assert time.process_time() - started < 3
        assert found == 20_002


class TestStatusLines:
    @pytest.mark.parametrize("over", [0, 1])
    def test_the_line_length_limit(self, over: int) -> None:
        octets = b"+OK " + b"x" * (limits.MAX_STATUS_LINE - 6 + over) + b"\r\n"
        if over:
            with pytest.raises(RemoteProtocolError):
                events(Pop3Protocol(), octets)
        else:
            answer(Pop3Protocol(), octets)

    def test_an_endless_line(self) -> None:
        protocol = Pop3Protocol()
        with pytest.raises(RemoteProtocolError):  # noqa: PT012 - any of it may be where it fails
            for _ in range(limits.MAX_STATUS_LINE):
                events(protocol, b"+OK xxxxxxxxxxx")

    @pytest.mark.parametrize("octets", [b"+OK\n", b"\n", b"+OK\r\r\n", b"+OK\n\r\n", b"SSH-2.0-x", b"2\r\n"])
    def test_invalid_lines(self, octets: bytes) -> None:
        protocol = Pop3Protocol()
        if octets == b"+OK\r\r\n":  # a CR that ends nothing is a character like any other, and shown as none
            assert answer(protocol, octets).reply.text == "\N{REPLACEMENT CHARACTER}"
        else:
            with pytest.raises(RemoteProtocolError):
                events(protocol, octets)


class TestPipelining:
    def test_replies_are_matched_to_commands_in_order(self) -> None:
        protocol = signed_in(PIPELINING)
        sent = protocol.dele(1) + protocol.retr(2) + protocol.uidl() + protocol.stat() + protocol.quit()
        assert sent == b"DELE 1\r\nRETR 2\r\nUIDL\r\nSTAT\r\nQUIT\r\n"
        assert protocol.pending == 5
        received = events(protocol, b"-ERR gone\r\n+OK\r\n..+OK\r\n.\r\n+OK\r\n1 -ERR\r\n.\r\n+OK 1 2\r\n+OK bye\r\n")
        assert [event.verb for event in received if isinstance(event, StatusReceived)] == [
            Verb.DELE,
            Verb.RETR,
            Verb.UIDL,
            Verb.STAT,
            Verb.QUIT,
        ]
        assert b"".join(event.data for event in received if isinstance(event, OctetsReceived)) == b".+OK\r\n"
        assert LineReceived(Verb.UIDL, "1 -ERR") in received
        assert protocol.state is State.CLOSED

    def test_pipelining_requires_the_capability(self) -> None:
        protocol = signed_in()
        protocol.retr(1)
        for _ in range(2):
            with pytest.raises(LocalProtocolError, match="before the last command was answered"):
                protocol.retr(2)
            events(protocol, b"+OK\r\nmessage")
        events(protocol, b"\r\n.\r\n")
        assert protocol.retr(2)

    def test_pipelining_continues_inside_a_message(self) -> None:
        protocol = signed_in(PIPELINING)
        protocol.retr(1)
        events(protocol, b"+OK\r\nmess")
        assert protocol.retr(2)
        assert protocol.dele(1)

    @pytest.mark.parametrize("verb", [Verb.STLS, Verb.AUTH, Verb.USER, Verb.PASS, Verb.QUIT])
    def test_no_pipelining_after_state_changing_commands(self, verb: Verb) -> None:
        protocol = greeted(PIPELINING)
        COMMANDS[verb][0](protocol)
        with pytest.raises(LocalProtocolError):
            protocol.capa()

    def test_capa_may_precede_a_state_changing_command(self) -> None:
        protocol = greeted(PIPELINING)
        assert protocol.capa() + protocol.auth("PLAIN", b"x") == b"CAPA\r\nAUTH PLAIN eA==\r\n"
        events(protocol, b"+OK\r\n.\r\n+OK\r\n")
        assert protocol.state is State.TRANSACTION

    def test_an_extra_reply_is_reported(self) -> None:
        protocol = signed_in(PIPELINING)
        protocol.dele(1)
        protocol.dele(2)
        with pytest.raises(RemoteProtocolError, match="answers nothing"):
            events(protocol, b"+OK\r\n+OK\r\n+OK\r\n")

    def test_pipelined_before_capa_withdraws_the_capability(self) -> None:
        protocol = signed_in(PIPELINING)
        protocol.capa()
        protocol.list()
        events(protocol, b"+OK\r\nTOP\r\n.\r\n")
        with pytest.raises(LocalProtocolError):
            protocol.uidl()
        events(protocol, b"+OK\r\n.\r\n")
        assert protocol.uidl()


def pieces(octets: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(octets) + 1) for cut in cuts}), len(octets)]
    return [octets[start:end] for start, end in pairwise(edges) if start < end]


def retrieved(parts: Sequence[bytes], *, verb: Verb = Verb.RETR) -> tuple[bytes, bool]:
    """Return a message fed in parts, and whether it ended."""
    protocol = signed_in()
    COMMANDS[verb][0](protocol)
    message, ended = b"", False
    for part in parts:
        for event in events(protocol, part):
            if isinstance(event, OctetsReceived):
                assert event.data
                assert not ended
                message += event.data
            elif isinstance(event, ResponseComplete):
                assert event.verb is verb
                ended = True
    return message, ended


def stuff(message: bytes) -> bytes:
    """Return what a server sends for a message that ends with CRLF, line by line as RFC 1939 section 3 says."""
    lines = message.split(b"\r\n")[:-1]
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"


MESSAGES = [
    pytest.param(b"", id="empty"),
    pytest.param(b"\r\n", id="an empty line"),
    pytest.param(b".\r\n", id="a dot"),
    pytest.param(b"..\r\n...\r\n.a\r\n", id="dots"),
    pytest.param(b"a\r\n.\r\nb\r\n", id="a dot between"),
    pytest.param(b"a\r\n.\r\n", id="a dot in the end"),
    pytest.param(b"a\n.\r\nb\r\n", id="LF dot CRLF"),
    pytest.param(b"a\r.\r\nb\r\n", id="CR dot CRLF"),
    pytest.param(b"a\r\n.\nb\r\n", id="CRLF dot LF"),
    pytest.param(b"a\n.\nb\n\r\n", id="LF dot LF"),
    pytest.param(b"a\r\n.\rb\r\n", id="CRLF dot CR"),
    pytest.param(b"a\r\r\n\n.\r\n", id="CR CRLF LF"),
    pytest.param(b"\0\x80\xff\r\n", id="octets"),
    pytest.param(b"+OK\r\n-ERR\r\n+ \r\n", id="status lines"),
]


class TestMessages:
    @pytest.mark.parametrize("message", MESSAGES)
    @pytest.mark.parametrize("verb", [Verb.RETR, Verb.TOP])
    def test_a_message_cut_at_every_octet(self, message: bytes, verb: Verb) -> None:
        """PT-01, PT-02: whole, octet by octet, and at every pair of places."""
        octets = b"+OK follows\r\n" + stuff(message)
        assert retrieved([octets], verb=verb) == (message, True)
        assert retrieved([octets[at : at + 1] for at in range(len(octets))], verb=verb) == (message, True)
        for first in range(len(octets)):
            for second in range(first, len(octets)):
                assert retrieved(pieces(octets, [first, second])) == (message, True)

    @given(
        st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"\r\n.", b"a", b"\0", b"..", b".\r\n"])).map(b"".join),
        st.lists(st.integers(0, 400), max_size=12),
    )
    @example(b"", [])
    def test_any_message_with_any_cuts(self, body: bytes, cuts: list[int]) -> None:
        message = re.sub(rb"\r?\Z", b"", body) + b"\r\n"
        octets = b"+OK\r\n" + stuff(message)
        assert retrieved(pieces(octets, cuts)) == (message, True)
        # Without its last octet it has not ended, whatever stands in it.
        assert retrieved(pieces(octets[:-1], cuts))[1] is False

    @pytest.mark.parametrize(
        "end", [b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n..\r\n", b".\r\n", b"\r\n. \r\n"]
    )
    def test_octets_that_do_not_end_a_message(self, end: bytes) -> None:
        for cut in range(len(end) + 1):
            assert retrieved([b"+OK\r\ntext" + end[:cut], end[cut:]])[1] is False

    @given(st.integers(1, 40), st.integers(0, 3))
    def test_octets_after_the_end_are_the_next_reply(self, cut: int, count: int) -> None:
        protocol = signed_in(PIPELINING)
        for number in range(count + 1):
            protocol.retr(number + 1)
        octets = b"".join(b"+OK\r\n..%d\r\n.\r\n" % number for number in range(count)) + b"-ERR gone\r\n"
        received = [event for at in range(0, len(octets), cut) for event in events(protocol, octets[at : at + cut])]
        ends = [event for event in received if isinstance(event, ResponseComplete)]
        assert b"".join(event.data for event in received if isinstance(event, OctetsReceived)) == b"".join(
            b".%d\r\n" % number for number in range(count)
        )
        assert len(ends) == count
        assert isinstance(received[-1], StatusReceived)
        assert not received[-1].reply.positive

    def test_a_line_of_ten_megabytes_takes_no_memory(self) -> None:
        protocol = signed_in()
        protocol.retr(1)
        answer(protocol, b"+OK\r\n")
        piece = b"." + b"x" * 65_535
        tracemalloc.start()
        for _ in range(160):
            assert sum(len(event.data) for event in events(protocol, piece) if isinstance(event, OctetsReceived))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()
        assert events(protocol, b"\r\n.\r\n")[-1] == ResponseComplete(Verb.RETR)

    def test_many_small_messages_at_once_are_fast(self) -> None:
        protocol = signed_in(PIPELINING)
        for number in range(1, 501):
            protocol.retr(number)
        octets = b"+OK\r\nSubject: x\r\n\r\n.\r\n" * 500
        started = time.process_time()
        received = [
            event for at in range(0, len(octets), 65_536) for event in events(protocol, octets[at : at + 65_536])
        ]
        assert time.process_time() - started < 2
        assert sum(isinstance(event, ResponseComplete) for event in received) == 500


@given(
    st.lists(st.sampled_from([b"+OK\r\n", b"-ERR x\r\n", b"+ \r\n", b".\r\n", b"1 1\r\n", b"\r\n", b"x", b"\n", b"+"]))
)
def test_any_server_output_is_an_event_or_a_protocol_error(said: list[bytes]) -> None:
    """The core neither fails in another way nor stops between two events."""
    protocol = Pop3Protocol()
    for octets in said:
        try:
            events(protocol, octets)
        except RemoteProtocolError:
            return
        for ask, _ in COMMANDS.values():
            try:
                ask(protocol)
            except (LocalProtocolError, RemoteProtocolError):
                continue
            break


class TestWholeMessages:
    """Messages that come completely, in one step."""

    @pytest.mark.parametrize(
        ("response", "message"),
        [
            (b"+OK\r\n.\r\n", b""),
            (b"+OK 9 octets\r\n..\r\n.\r\n", b".\r\n"),
            (b"+OK \r\na\r\n..b\r\n\r\n.\r\n", b"a\r\n.b\r\n\r\n"),
        ],
    )
    @pytest.mark.parametrize("behind", [b"", b"+", b"+OK\r\nx\r\n.\r\n"])
    def test_a_whole_message(self, response: bytes, message: bytes, behind: bytes) -> None:
        protocol = signed_in(b"PIPELINING\r\n")
        assert protocol.retr(1, 2) == b"RETR 1\r\nRETR 2\r\n"
        protocol.receive(response + behind)
        assert protocol.next_message() == message
        assert protocol.pending == 1
        if behind.endswith(b".\r\n"):
            assert protocol.next_message() == b"x\r\n"
            assert protocol.pending == 0
            assert protocol.next_message() is None

    @pytest.mark.parametrize(
        "octets",
        [
            b"",
            b"+OK\r\nhalf a line",
            b"+OK\r\nno end\r\n",
            b"-ERR no\r\n+OK\r\n.\r\n",
            b"+OKAY\r\n.\r\n",
            b"+OK\na\r\n.\r\n",
            b"+OK a\rb\r\n.\r\n",
            b"+OK " + b"x" * 16_384 + b"\r\n.\r\n",
            b"junk\r\n.\r\n",
        ],
    )
    def test_others_are_left_to_the_events(self, octets: bytes) -> None:
        protocol = signed_in(b"PIPELINING\r\n")
        protocol.retr(1, 2)
        protocol.receive(octets)
        assert protocol.next_message() is None
        assert protocol.pending == 2
        assert len(protocol._buffer) == len(octets)

    def test_not_within_a_message_and_not_for_other_commands(self) -> None:
        protocol = signed_in(b"PIPELINING\r\n")
        protocol.retr(1)
        assert events(protocol, b"+OK\r\na line\r\n")
        protocol.receive(b"+OK\r\n.\r\n")
        assert protocol.next_message() is None
        assert events(protocol)
        protocol.uidl()
        protocol.receive(b"+OK\r\n.\r\n")
        assert protocol.next_message() is None

    def test_several_are_requested_only_with_pipelining(self) -> None:
        protocol = signed_in()
        with pytest.raises(LocalProtocolError):
            protocol.retr(1, 2)
        assert protocol.retr(1) == b"RETR 1\r\n"


class TestLinesAtOnce:
    """Lines of a listing that have come together, in one step: the same as one by one."""

    LINES = (
        b"1 a\r\n",
        b"\r\n",
        b"2 \xffb\r\n",
        b"3 \xc3\r\n",
        b"4 a\rb\r\r\n",
        b"..5\r\n",
        b".\r\n",
        b"6\n",
        b"7 " + b"x" * 1_020 + b"\r\n",
        b"8 " + b"x" * 1_021 + b"\r\n",
        b"9",
    )

    @staticmethod
    def outcome(octets: bytes, verb: Verb, *, at_once: bool) -> tuple[list[str], str, int]:
        """Return the lines, how they end, and how many octets are left."""
        protocol = signed_in(b"PIPELINING\r\n")
        COMMANDS[verb][0](protocol)
        protocol.receive(b"+OK\r\n")
        assert isinstance(protocol.next_event(), StatusReceived)
        protocol.receive(octets)
        lines: list[str] = []
        try:
            while (event := protocol.next_event()) is not None:
                if isinstance(event, ResponseComplete):
                    return lines, "complete", len(protocol._buffer)
                assert isinstance(event, LineReceived)
                lines.append(event.text)
                if at_once:
                    lines += protocol.next_lines()
        except RemoteProtocolError as error:
            return lines, str(error), 0
        return lines, "more", len(protocol._buffer)

    @given(st.lists(st.sampled_from(LINES), max_size=8), st.sampled_from([Verb.LIST, Verb.UIDL, Verb.CAPA]))
    def test_they_are_the_same(self, lines: list[bytes], verb: Verb) -> None:
        octets = b"".join(lines)
        assert self.outcome(octets, verb, at_once=True) == self.outcome(octets, verb, at_once=False)

    def test_all_that_have_come_are_taken(self) -> None:
        protocol = signed_in()
        protocol.uidl()
        protocol.receive(b"+OK\r\n1 a\r\n2 b\r\n.3\r\n4 d\r\n5")
        assert protocol.next_lines() == [], "no listing has begun"
        assert isinstance(protocol.next_event(), StatusReceived)
        assert protocol.next_lines() == ["1 a", "2 b"]
        assert protocol.next_lines() == []
        assert protocol.next_event() == LineReceived(Verb.UIDL, "3")
        assert protocol.next_lines() == ["4 d"]
        assert protocol.next_lines() == []

    def test_not_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mailslot.pop3.protocol.MAX_ENTRIES", 3)
        assert self.outcome(b"1 a\r\n" * 3, Verb.UIDL, at_once=True)[1] == "more"
        assert self.outcome(b"1 a\r\n" * 4, Verb.UIDL, at_once=True)[1] == "an answer to UIDL without end"
