"""Clients that send anything, in any pieces."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from mailslot import Transcript
from mailslot.smtp.server import events, replies
from mailslot.smtp.server.limits import MAX_RESPONSE_LINE
from mailslot.smtp.server.protocol import SmtpServerProtocol
from mailslot.smtp.server.states import State
from mailslot.wire.closing import Closing

from .play import Player, offers

REPLY_LINE = re.compile(rb"[2-5]\d\d(?:-[ -~]+| [ -~]*)\r\n")

PIECES = [
    b"EHLO me", b"HELO", b"MAIL FROM:<a@example.com>", b"mail from: a@example.com SIZE=90", b"MAIL FROM:<>",
    b"RCPT TO:<b@example.com>", b"RCPT TO:<>", b"AUTH PLAIN AGEAYg==", b"AUTH LOGIN", b"YQ==", b"*", b"AUTH X",
    b"BDAT 3", b"BDAT 7 LAST", b"BDAT 200", b"RSET", b"NOOP", b"VRFY x", b"", b"\0", b"x" * 3_000, b".", b"..",
]  # fmt: skip
ALONE = [b"DATA", b"STARTTLS", b"QUIT", b"BDAT x", b"GET / HTTP/1.1", b"\x16\x03\x01"]
ENDS = [b"\r\n"] * 6 + [b"\n", b"\r", b"\r\r\n", b""]

lines = st.tuples(st.sampled_from(PIECES), st.sampled_from(ENDS)).map(b"".join)
last = st.tuples(st.sampled_from(ALONE), st.sampled_from(ENDS)).map(b"".join)
flights = st.lists(
    st.tuples(st.lists(lines | st.binary(max_size=12), max_size=8).map(b"".join), last | st.just(b"")).map(b"".join),
    max_size=12,
)
refusals = st.dictionaries(
    st.sampled_from(
        [events.Credentials, events.Mail, events.Recipient, events.Begin, events.ChunkReceived, events.EndOfMessage]
    ),
    st.sampled_from([replies.SPOOL_FULL, replies.RECIPIENT_NOT_ALLOWED, replies.STOPPING]),
    max_size=2,
)


def play(flights: list[bytes], refused: dict[type, replies.Reply], cut: list[int]) -> tuple[Player, Transcript]:
    """Play flights, each cut into pieces of these sizes, which begin anew where they end."""
    notes = Transcript()
    made = Player(SmtpServerProtocol(offers(max_size=100), notes), refused)
    made.core.greet()
    for flight in flights:
        at = 0
        for number in range(len(flight)):
            size = cut[number % len(cut)] if cut else len(flight)
            made.feed(flight[at : at + size])
            at += size
    return made, notes


@given(flights, refusals, st.lists(st.integers(1, 40), max_size=6))
@settings(max_examples=300)
def test_any_octets(flights: list[bytes], refused: dict[type, replies.Reply], cut: list[int]) -> None:
    made, notes = play(flights, refused, cut)
    # What is sent is replies, whole ones.
    sent = made.sent
    assert REPLY_LINE.sub(b"", sent) == b""
    # Memory is bounded.
    assert len(made.core._input) <= MAX_RESPONSE_LINE
    # Events come in an order that makes sense, and a session that is over says so, once and last.
    begun = False
    for event in made.heard:
        if isinstance(event, events.Begin):
            begun = True
        elif isinstance(event, events.ChunkReceived | events.EndOfMessage | events.Aborted):
            assert begun
            begun = isinstance(event, events.ChunkReceived) and events.ChunkReceived not in refused
    closings = [event for event in made.heard if isinstance(event, Closing)]
    assert len(closings) == (made.core.state is State.CLOSED)
    assert not closings or made.heard[-1] is closings[0]
    for _, recipients, content in made.messages:
        assert recipients
        assert len(content) <= 100
        assert content == b"" or content.endswith(b"\r\n")
        assert content.count(b"\n") == content.count(b"\r") == content.count(b"\r\n")
    assert sent.count(b"queued as") == len(made.messages)
    assert "AGEAYg" not in str(notes)


# In one flight, STARTTLS and DATA are refused where something follows them at once.
@given(st.lists(lines, max_size=12), refusals, st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_the_pieces_do_not_matter(flights: list[bytes], refused: dict[type, replies.Reply], cut: list[int]) -> None:
    one, one_notes = play([b"".join(flights)], refused, [])
    other, other_notes = play([b"".join(flights)], refused, cut)
    assert one.sent == other.sent
    assert one.heard == other.heard
    assert one.messages == other.messages
    assert str(one_notes) == str(other_notes)
