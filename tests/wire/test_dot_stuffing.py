"""Line ends and dot-stuffing, compared with a simple reference implementation, at any fragmentation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailslot.wire import dot_stuffing
from mailslot.wire.dot_stuffing import DotStuffer, DotUnstuffer, LineEndNormalizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What could be taken for the end of a message by one server or another (CVE-2023-51764, -51765, -51766).
SMUGGLING = [
    b"",
    b".",
    b"..",
    b".x",
    b"\r",
    b"\n",
    b"\r\r",
    b"\n.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\r\n.\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n\r.\r\n",
    b"a\n.\r\nMAIL FROM:<evil@example.com>\r\n",
    b"a\r\n.\nMAIL FROM:<evil@example.com>\n",
    b"a\r.\rMAIL FROM:<evil@example.com>\r",
    b"a\r\n.\r\nMAIL FROM:<evil@example.com>\r\n",
    b"a\r\n..\r\n",
    b".a\r\n.b\r\n..c\r\n",
    b"a\x00\n.\x00\r\n",
    b"a\r\n\x0b.\r\n\x85.\r\n",
    b"no end of line",
    b"ends with CR\r",
]

octets = st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\0", b"\xff", b"\r\n", b"\r\n."]), max_size=40).map(
    b"".join
)


def canonical(message: bytes) -> bytes:
    """Return what a message is once all its lines end with CRLF, said in another way than the code does."""
    lines = re.split(rb"\r\n|\r|\n", message)
    complete, rest = lines[:-1], lines[-1]
    return b"".join(line + b"\r\n" for line in [*complete, *([rest] if rest else [])])


def cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """Cut at the given sizes, again and again; the rest follows whole."""
    at = 0
    for size in sizes:
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size
    yield data[at:]


def stuffed(message: bytes, sizes: Iterable[int]) -> tuple[bytes, int]:
    stuffer = DotStuffer()
    wire = b"".join([*map(stuffer.feed, cut(message, sizes)), stuffer.finish()])
    return wire, stuffer.size


def assert_harmless(wire: bytes, message: bytes) -> None:
    """Hold what went onto the wire against every rule."""
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", wire), "a bare CR or LF"
    assert wire == b".\r\n" or wire.endswith(b"\r\n.\r\n")
    assert b"\r\n.\r\n" not in (b"\r\n" + wire)[:-3], "an end before the end"
    received = DotUnstuffer()
    assert received.feed(wire) == canonical(message)
    assert received.done
    assert received.trailing == b""


@pytest.mark.parametrize("message", SMUGGLING)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 1000])
def test_smtp_smuggling_is_impossible(message: bytes, size: int) -> None:
    wire, counted = stuffed(message, [size] * len(message))
    assert_harmless(wire, message)
    assert counted == len(canonical(message))


@given(octets, st.lists(st.integers(0, 7)))
@example(b"\r\n", [1])
@example(b"a\r.", [2])
def test_stuffing_is_independent_of_fragmentation(message: bytes, sizes: list[int]) -> None:
    wire, counted = stuffed(message, sizes)
    assert wire == stuffed(message, [])[0]
    assert_harmless(wire, message)
    assert counted == len(canonical(message))


@given(octets, st.lists(st.integers(0, 7)))
def test_line_end_conversion_is_independent_of_fragmentation(message: bytes, sizes: list[int]) -> None:
    lines = LineEndNormalizer()
    out = b"".join([*map(lines.feed, cut(message, sizes)), lines.finish()])
    assert out == canonical(message)
    assert lines.size == len(out)
    assert lines.at_line_start


@given(octets, octets, st.lists(st.integers(1, 7)))
def test_unstuffing_is_independent_of_fragmentation(message: bytes, rest: bytes, sizes: list[int]) -> None:
    """Whatever lines are in it: only CRLF . CRLF ends it, and what follows stays."""
    body = re.sub(rb"\A\.|(?<=\r\n)\.", b"..", message + b"\r\n")
    wire = body + b".\r\n" + rest
    received = DotUnstuffer()
    out = b""
    pieces = cut(wire, sizes)
    for piece in pieces:
        out += received.feed(piece)
        if received.done:
            break
    assert received.done
    assert out == message + b"\r\n"
    assert received.trailing + b"".join(pieces) == rest


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    "body",
    [b"\n.\r\n", b"a\n.\r\nb\r\n", b"a\r.\r\nb\r\n", b"a\r\n.\nb\r\n", b"a\r\n.\rb\r\n", b"\r\n.\r\r\n", b".\r\r\n"],
)
def test_only_crlf_dot_crlf_ends_a_message(body: bytes, size: int) -> None:
    received = DotUnstuffer()
    out = b"".join(map(received.feed, cut(body, [size] * 100)))
    assert not received.done
    out += received.feed(b"\r\n.\r\n")
    assert received.done
    assert out == re.sub(rb"(?:\A|(?<=\r\n))\.", b"", body) + b"\r\n"


def test_octets_after_the_end_are_not_consumed() -> None:
    received = DotUnstuffer()
    assert received.feed(b".\r\n+OK") == b""
    assert received.trailing == b"+OK"
    with pytest.raises(ValueError, match="ended"):
        received.feed(b"more")


def test_a_line_of_ten_megabytes_takes_linear_time() -> None:
    received = DotUnstuffer()
    line = b"x" * 10_000
    count = sum(len(received.feed(line)) for _ in range(1000)) + len(received.feed(b"\r\n.\r\n"))
    assert count == 10_000_002


@given(st.lists(st.sampled_from([*SMUGGLING, b"a line", b"\r\n", b"\n"])).map(b"".join))
def test_a_whole_message_is_the_same_as_its_pieces(message: bytes) -> None:
    stuffer = DotStuffer()
    in_pieces = b"".join(stuffer.feed(message[at : at + 1]) for at in range(len(message))) + stuffer.finish()
    whole = dot_stuffing.WholeMessage(message)
    lines = whole.lines
    assert dot_stuffing.stuffed(lines) + dot_stuffing.FINAL_DOT == in_pieces
    assert len(lines) == whole.size == stuffer.size
    assert dot_stuffing.unstuffed(dot_stuffing.stuffed(lines)) == lines


def test_a_message_with_crlf_is_not_copied() -> None:
    message = b"one\r\ntwo\r\n"
    for function in (dot_stuffing.with_crlf, dot_stuffing.stuffed, dot_stuffing.unstuffed):
        assert function(message) is message
    assert dot_stuffing.WholeMessage(message).lines is message
