"""Replies from octets (ST-04 and ST-05 of the catalogue of tests)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import Reply
from mailslot.smtp.limits import MAX_REPLY, MAX_REPLY_LINE, MAX_REPLY_LINES
from mailslot.smtp.replies import ReplyParser
from mailslot.wire.protocol_error import RemoteProtocolError


def replies_in(*pieces: bytes) -> list[Reply]:
    reader = ReplyParser()
    replies = []
    for piece in pieces:
        reader.feed(piece)
        while (reply := reader.next()) is not None:
            replies.append(reply)
    return replies


texts = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=20)


@given(st.lists(st.tuples(st.integers(200, 599), st.lists(texts, min_size=1, max_size=4)), max_size=4), st.data())
def test_any_fragmentation_gives_the_same_replies(said: list[tuple[int, list[str]]], data: st.DataObject) -> None:
    wire = b"".join(
        b"".join(f"{code}-{line}\r\n".encode() for line in lines[:-1]) + f"{code} {lines[-1]}\r\n".encode()
        for code, lines in said
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)))))
    pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    replies = replies_in(*pieces)
    assert replies == replies_in(wire)
    assert [reply.code for reply in replies] == [code for code, _ in said]
    assert [len(reply.text.split("\n")) for reply in replies] == [len(lines) for _, lines in said]


@pytest.mark.parametrize(
    ("octets", "reply"),
    [
        (b"250\r\n", Reply(250, None, "", positive=True)),
        (b"250 \r\n", Reply(250, None, "", positive=True)),
        (b"250-\r\n250\r\n", Reply(250, None, "\n", positive=True)),
        (b"250 354 go\r\n", Reply(250, None, "354 go", positive=True)),
        (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0", "Ok", positive=True)),
        (b"250 2.1.0\r\n", Reply(250, "2.1.0", "", positive=True)),
        (b"250 2.1.0x\r\n", Reply(250, None, "2.1.0x", positive=True)),
        (b"550 2.1.0 no\r\n", Reply(550, None, "2.1.0 no", positive=False)),
        (b"535-5.7.8 a\r\n535 5.7.8  b\r\n", Reply(535, "5.7.8", "a\nb", positive=False)),
        (b"535-5.7.8 a\r\n535 b\r\n", Reply(535, "5.7.8", "a\nb", positive=False)),
        (b"535-a\r\n535 5.7.8 b\r\n", Reply(535, None, "a\n5.7.8 b", positive=False)),
        (b"421 4.7.66 old\r\n", Reply(421, "4.7.66", "old", positive=False)),
        (b"535 5.7.1000 no\r\n", Reply(535, None, "5.7.1000 no", positive=False)),
        (b"354 go\r\n", Reply(354, None, "go", positive=True)),
        ("250 grüß\r\n".encode(), Reply(250, None, "grüß", positive=True)),
        (b"250 \xff\xfe\r\n", Reply(250, None, "\\xff\\xfe", positive=True)),
        (b"250 a\x1b[2J\x00\tb\r\r\n", Reply(250, None, "a�[2J� b�", positive=True)),
    ],
)
def test_replies(octets: bytes, reply: Reply) -> None:
    assert replies_in(octets) == [reply]
    assert replies_in(*[octets[at : at + 1] for at in range(len(octets))]) == [reply]


@pytest.mark.parametrize(
    "octets",
    [
        b"25\r\n",
        b"2500 ok\r\n",
        b"099 no\r\n",
        b"150 no\r\n",
        b"650 no\r\n",
        b"abc\r\n",
        b"250_ok\r\n",
        b"\r\n",
        b" 250 ok\r\n",
        b"\x00250 ok\r\n",
        b"250 ok\n",
        b"250-a\n250 b\r\n",
        b"250-a\r\n251 b\r\n",
        b"250-a\r\n354 b\r\n",
        "２５０ ok\r\n".encode(),
        b"250-a\r\nHTTP/1.1\r\n",
    ],
)
def test_invalid_replies(octets: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        replies_in(octets)
    with pytest.raises(RemoteProtocolError):
        replies_in(*[octets[at : at + 1] for at in range(len(octets))])


@pytest.mark.parametrize("octets", [b"x", b"6", b"09", b"25x", b"250_", b"\x00", b"HTTP/1.1 400", b"\x16\x03\x01"])
def test_invalid_prefixes_are_refused_early(octets: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        replies_in(octets)


@pytest.mark.parametrize("octets", [b"", b"2", b"25", b"250", b"250 ", b"250-", b"250-a\r\n", b"250-a\r\n2", b"250\r"])
def test_valid_prefixes_wait_for_more(octets: bytes) -> None:
    reader = ReplyParser()
    reader.feed(octets)
    assert reader.next() is None
    assert len(reader) == len(octets)


def test_length_limits() -> None:
    line = b"250 " + b"x" * (MAX_REPLY_LINE - 6) + b"\r\n"
    assert len(replies_in(line)) == 1
    with pytest.raises(RemoteProtocolError, match="line of over"):
        replies_in(b"250 " + b"x" * (MAX_REPLY_LINE - 5) + b"\r\n")
    with pytest.raises(RemoteProtocolError, match="line of over"):
        replies_in(b"250 " + b"x" * MAX_REPLY_LINE)
    assert len(replies_in(b"250-x\r\n" * (MAX_REPLY_LINES - 1) + b"250 x\r\n")) == 1
    with pytest.raises(RemoteProtocolError, match="without end"):
        replies_in(b"250-x\r\n" * MAX_REPLY_LINES)
    long = b"250-" + b"x" * 8_000 + b"\r\n"
    with pytest.raises(RemoteProtocolError, match="without end"):
        replies_in(long * (MAX_REPLY // len(long) + 1))
