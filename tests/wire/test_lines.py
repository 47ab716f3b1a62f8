"""Lines out of octets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot.wire.dot_stuffing import END_PATTERN
from mailslot.wire.lines import LineBuffer
from mailslot.wire.protocol_error import RemoteProtocolError

LIMIT = 20


def lines_of(*pieces: bytes, limit: int = LIMIT) -> list[bytes]:
    buffer = LineBuffer()
    lines = []
    for piece in pieces:
        buffer.feed(piece)
        while (line := buffer.next_line(limit)) is not None:
            lines.append(line)
    return lines


@given(st.lists(st.binary(max_size=LIMIT - 2).map(lambda line: line.replace(b"\n", b"n").rstrip(b"\r"))), st.data())
def test_lines_are_independent_of_fragmentation(lines: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(line + b"\r\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)))))
    pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert lines_of(*pieces) == lines


def test_an_incomplete_line_is_kept() -> None:
    buffer = LineBuffer()
    buffer.feed(b"one\r\ntwo\r\nthr")
    assert buffer.next_line(LIMIT) == b"one"
    assert len(buffer) == 8
    assert buffer.peek(3) == b"two"
    assert buffer.take() == b"two\r\nthr"
    assert len(buffer) == 0
    assert buffer.next_line(LIMIT) is None
    buffer.feed(b"ee\r\n")
    assert buffer.next_line(LIMIT) == b"ee"


def test_taking_octets_and_pushing_them_back() -> None:
    buffer = LineBuffer()
    buffer.feed(b"+OK\r\nbody\r\n.\r\n+OK rest\r\n")
    assert buffer.next_line(LIMIT) == b"+OK"
    assert buffer.take(END_PATTERN) == b"body\r\n.\r\n"
    assert buffer.peek(3) == b"+OK"
    assert buffer.take(re.compile(b"no such mark")) == b"+OK rest\r\n"
    assert len(buffer) == 0
    buffer.push_back(6)
    assert buffer.next_line(LIMIT) == b"rest"
    assert buffer.take() == b""


@pytest.mark.parametrize("pieces", [(b"a\n",), (b"a", b"\n"), (b"\n",), (b"ok\r\n\n",), (b"ok\r\n", b"\n")])
def test_a_bare_lf_ends_no_line(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(RemoteProtocolError, match="bare LF"):
        lines_of(*pieces)


def test_a_bare_cr_is_an_ordinary_octet() -> None:
    assert lines_of(b"a\rb\r\r\n") == [b"a\rb\r"]


def test_the_limit_counts_crlf() -> None:
    assert lines_of(b"x" * (LIMIT - 2) + b"\r\n") == [b"x" * (LIMIT - 2)]
    with pytest.raises(RemoteProtocolError, match="over 20 octets"):
        lines_of(b"x" * (LIMIT - 1) + b"\r\n")


def test_an_endless_line_is_refused_at_the_limit() -> None:
    assert lines_of(b"x" * (LIMIT - 1)) == []
    with pytest.raises(RemoteProtocolError, match="over 20 octets"):
        lines_of(*[b"x"] * LIMIT)


def test_many_lines_take_linear_time_and_free_memory() -> None:
    buffer = LineBuffer()
    buffer.feed(b"0123456789\r\n" * 100_000)
    for _ in range(99_000):
        assert buffer.next_line(LIMIT) == b"0123456789"
    assert len(buffer._data) < 100_000
    buffer.feed(b"last\r\n")
    assert [buffer.next_line(LIMIT) for _ in range(1001)] == [b"0123456789"] * 1000 + [b"last"]


def test_a_long_line_in_single_octets_takes_linear_time() -> None:
    buffer = LineBuffer()
    for _ in range(200_000):
        buffer.feed(b"x")
        assert buffer.next_line(300_000) is None
    buffer.feed(b"\r\n")
    assert buffer.next_line(300_000) == b"x" * 200_000


def test_octets_are_looked_at_and_skipped() -> None:
    buffer = LineBuffer()
    buffer.feed(b"one\r\n.\r\ntwo\r\n")
    assert buffer.peek_through(END_PATTERN) == b"one\r\n.\r\n"
    assert buffer.peek_through(re.compile(b"three")) is None
    buffer.skip(8)
    assert (buffer.unread, buffer.next_line(LIMIT), buffer.unread) == (5, b"two", 0)
    buffer.feed(b"thr")
    buffer.clear()
    buffer.feed(b"four\r\n")
    assert (buffer.unread, buffer.next_line(LIMIT)) == (6, b"four")


def test_skipped_octets_are_given_back_to_the_system() -> None:
    buffer = LineBuffer()
    for _ in range(100):
        buffer.feed(b"x" * 10_000)
        buffer.skip(9_999)
        assert len(buffer._data) < 200_000
    assert buffer.unread == 100
    buffer.skip(100)
    buffer.feed(b"line\r\n")
    assert buffer.next_line(LIMIT) == b"line"
