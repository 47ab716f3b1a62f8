"""Clients that send anything, in any pieces."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mailslot import Transcript
from mailslot.pop3.server import events, replies
from mailslot.pop3.server.limits import MAX_COMMAND_LINE
from mailslot.pop3.server.offers import Offers
from mailslot.pop3.server.protocol import Pop3ServerProtocol
from mailslot.pop3.server.states import State
from mailslot.wire.closing import Closing

from .play import TIMESTAMP, Player

PIECES = [
    b"USER fax", b"user  fax ", b"PASS open sesame", b"PASS", b"APOP fax c4c9334bac560ecc979e58001b3e22fb", b"APOP x",
    b"CAPA", b"STAT", b"LIST", b"LIST 1", b"LIST 9", b"UIDL", b"UIDL 2", b"RETR 1", b"RETR 3", b"TOP 1 1", b"TOP 2 0",
    b"DELE 1", b"DELE 2", b"DELE 3", b"RSET", b"NOOP", b"AUTH PLAIN AGEAYg==", b"", b"\0", b"x" * 3_000, b".",
]  # fmt: skip
ALONE = [b"STLS", b"QUIT", b"GET / HTTP/1.1", b"\x16\x03\x01"]
ENDS = [b"\r\n"] * 6 + [b"\n", b"\r", b"\r\r\n", b""]

lines = st.tuples(st.sampled_from(PIECES), st.sampled_from(ENDS)).map(b"".join)
last = st.tuples(st.sampled_from(ALONE), st.sampled_from(ENDS)).map(b"".join)
signed_in = st.just(b"USER fax\r\nPASS open sesame\r\n")
flights = st.lists(
    st.tuples(st.lists(signed_in | lines | st.binary(max_size=12), max_size=8).map(b"".join), last | st.just(b"")).map(
        b"".join
    ),
    max_size=12,
)
refusals = st.dictionaries(
    st.sampled_from([events.Credentials, events.ApopDigest, events.StartTls, events.Retrieve, events.Update]),
    st.sampled_from([replies.IN_USE, replies.UNAVAILABLE, replies.AUTHENTICATION_FAILED]),
    max_size=2,
)


def play(
    flights: list[bytes], refused: dict[type, replies.Reply], cut: list[int], *, clear: bool
) -> tuple[Player, Transcript]:
    """Play flights, each cut into pieces of these sizes, which begin anew where they end."""
    notes = Transcript()
    made = Player(Pop3ServerProtocol(Offers(tls=True, clear_text_passwords=clear), notes), refused)
    made.core.greet(TIMESTAMP)
    made.drain()
    for flight in flights:
        at = 0
        for number in range(len(flight)):
            size = cut[number % len(cut)] if cut else len(flight)
            made.feed(flight[at : at + size])
            at += size
    return made, notes


def responses(sent: bytes) -> list[bytes]:
    """Return the status lines, after a check that everything sent is a whole response."""
    found: list[bytes] = []
    left = sent.split(b"\r\n")
    assert left.pop() == b""
    while left:
        status = left.pop(0)
        assert status.startswith((b"+OK ", b"-ERR "))
        found.append(status)
        counts_only = status.split()[-1] == b"messages" and left and left[0][:1].isdigit()
        if b"follow" in status or counts_only:
            while left.pop(0) != b".":
                pass
        elif left and left[0] == b".":
            left.pop(0)
    return found


@given(flights, refusals, st.lists(st.integers(1, 40), max_size=6), st.booleans())
@settings(max_examples=300)
def test_any_octets(flights: list[bytes], refused: dict[type, replies.Reply], cut: list[int], clear: bool) -> None:
    made, notes = play(flights, refused, cut, clear=clear)
    assert responses(made.sent)[0].startswith(b"+OK POP3 server ready <")
    # Memory is bounded.
    assert len(made.core._input) <= MAX_COMMAND_LINE
    # A session that is over says so, once and last.
    closings = [event for event in made.heard if isinstance(event, Closing)]
    assert len(closings) == (made.core.state is State.CLOSED)
    assert not closings or made.heard[-1] is closings[0]
    # Nobody signs in in clear where that is not allowed, and nothing happens before a sign-in.
    seen = [type(event) for event in made.heard]
    if not clear:
        started = seen.index(events.StartTls) if events.StartTls in seen else len(seen)
        assert events.Credentials not in seen[:started]
        assert events.ApopDigest not in seen[:started]
    if events.Retrieve in seen:
        assert {events.Credentials, events.ApopDigest} & set(seen[: seen.index(events.Retrieve)])
    # Only QUIT deletes.
    if made.deleted:
        assert closings == [Closing("quit")]
        assert set(made.deleted) <= {100, 101, 102}
    for secret in ("sesame", "c4c9334b", "AGEAYg"):
        assert secret not in str(notes)


# In one flight, STLS is refused where something follows it at once.
@given(st.lists(signed_in | lines, max_size=12), refusals, st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_the_pieces_do_not_matter(flights: list[bytes], refused: dict[type, replies.Reply], cut: list[int]) -> None:
    one, one_notes = play([b"".join(flights)], refused, [], clear=True)
    other, other_notes = play([b"".join(flights)], refused, cut, clear=True)
    assert one.sent == other.sent
    assert [type(event) for event in one.heard] == [type(event) for event in other.heard]
    assert one.deleted == other.deleted
    assert str(one_notes) == str(other_notes)
