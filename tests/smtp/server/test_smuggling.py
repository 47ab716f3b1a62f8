"""What could make two messages out of one, or commands out of content, for this server or the next one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot.smtp.server import events, replies
from mailslot.wire.closing import Closing
from mailslot.wire.dot_stuffing import DotStuffer
from server_play import FEEDS

from .play import Player, player

ENDS = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n\n", b"\r\r", b"\0\n", b"\r\0\n")
SMUGGLED = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<to@example.com>\r\nDATA\r\nsmuggled\r\n.\r\n"


def at_data() -> Player:
    made = player()
    for line in (b"EHLO me", b"MAIL FROM:<a@example.com>", b"RCPT TO:<to@example.com>", b"DATA"):
        made.feed(line + b"\r\n")
    assert made.take_sent().endswith(b"<CRLF>.<CRLF>\r\n")
    return made


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize(
    ("before", "after"),
    [pair for pair in itertools.product(ENDS, repeat=2) if b"\r\n.\r\n" not in b".".join(pair)],
)
def test_only_crlf_dot_crlf_ends_a_message(before: bytes, after: bytes, feed: str) -> None:
    made = at_data()
    for octets in FEEDS[feed](b"text" + before + b"." + after + SMUGGLED.removesuffix(b".\r\n") + b"\r\n.\r\n"):
        made.feed(octets)
    (sender, recipients, content), *others = made.messages
    assert others == []
    assert (sender, recipients) == ("a@example.com", ["to@example.com"])
    assert content.count(b"\n") == content.count(b"\r") == content.count(b"\r\n")
    assert b"evil@example.com" in content
    # As it is sent on, it has one end, too.
    stuffer = DotStuffer()
    sent_on = stuffer.feed(content) + stuffer.finish()
    assert sent_on.find(b"\r\n.\r\n") == len(sent_on) - len(b"\r\n.\r\n")


@pytest.mark.parametrize("feed", FEEDS)
def test_an_end_before_which_a_cr_is_too_many(feed: str) -> None:
    """``\\r\\r\\n.\\r\\n`` is an end, since CRLF.CRLF is in it; what follows is commands for everyone."""
    made = at_data()
    for octets in FEEDS[feed](b"text\r\r\n.\r\nQUIT\r\n"):
        made.feed(octets)
    assert made.messages[0][2] == b"text\r\n\r\n"
    assert made.heard[-1] == Closing("quit")


@pytest.mark.parametrize("behind", [b"MAIL FROM:<a@example.com>\r\n", b"E", b"\r\n", b"\x16\x03\x01"])
def test_octets_behind_starttls_end_the_session(behind: bytes) -> None:
    made = player()
    made.feed(b"EHLO me\r\n")
    made.take_sent()
    made.feed(b"STARTTLS\r\n" + behind)
    assert made.take_sent() == b"554 5.5.0 Wait for the reply before you send on\r\n"
    assert made.heard[1:] == [Closing("protocol")]


def test_octets_behind_data_end_the_session() -> None:
    made = player()
    for line in (b"EHLO me", b"MAIL FROM:<a@example.com>", b"RCPT TO:<to@example.com>"):
        made.feed(line + b"\r\n")
    made.take_sent()
    made.feed(b"DATA\r\nx\r\n.\r\n" + SMUGGLED)
    assert made.take_sent() == b"554 5.5.0 Wait for the reply before you send on\r\n"
    assert made.heard[-1] == Closing("protocol")
    assert made.messages == []


def test_content_behind_a_refused_chunk_is_no_command() -> None:
    made = player({events.Mail: replies.SENDER_NOT_ALLOWED})
    made.feed(b"EHLO me\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n")
    made.take_sent()
    made.feed(b"BDAT %d LAST\r\n" % len(SMUGGLED) + SMUGGLED)
    assert made.take_sent() == b"503 5.5.1 Send MAIL first\r\n"
    assert [type(event) for event in made.heard] == [events.Hello, events.Mail]


@pytest.mark.parametrize("line", [b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT 1 FIRST", b"BDAT 5LAST", b"BDAT " + b"9" * 21])
def test_a_chunk_of_unknown_size_ends_the_session(line: bytes) -> None:
    made = player()
    made.feed(b"EHLO me\r\n")
    made.take_sent()
    made.feed(line + b"\r\n" + SMUGGLED)
    assert made.take_sent() == b"501 5.5.4 Syntax: BDAT size [LAST]\r\n"
    assert made.heard[1:] == [Closing("protocol")]


@given(
    st.lists(st.sampled_from([*ENDS, b".", b"..", b"x", b"\xff"]), max_size=30).map(b"".join),
    st.lists(st.integers(1, 9), max_size=30),
)
def test_content_in_any_pieces(text: bytes, pieces: list[int]) -> None:
    """The content does not depend on the pieces, and stuffing it gives one message again."""
    octets = text.replace(b"\r\n.", b"\r\n..")
    if text.startswith(b"."):
        octets = b"." + octets
    octets += b"\r\n.\r\n"
    made = at_data()
    at = 0
    for size in [*pieces, len(octets)]:
        made.feed(octets[at : at + size])
        at += size
    (_, _, content), *others = made.messages
    assert others == []
    expected = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    # The CRLF before the final dot ends the last line; it is part of the message.
    assert content == expected + b"\r\n"
