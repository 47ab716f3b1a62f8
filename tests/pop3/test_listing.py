"""LIST and UIDL, valid and invalid."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import Entry
from mailslot.pop3.listing import make_entries, parse_listing_lines
from mailslot.wire.protocol_error import RemoteProtocolError


def parse_listing(sizes: list[str], uids: list[str]) -> list[Entry]:
    """Return the entries of LIST and UIDL."""
    return make_entries(parse_listing_lines(sizes), parse_listing_lines(uids))


def test_the_examples_of_rfc_1939() -> None:
    """RFC 1939 sections 5 (LIST) and 7 (UIDL)."""
    uids = ["1 whqtswO00WBw418f9t5JxYwZ", "2 QhdPYR:00WBw1Ph7x7"]
    assert parse_listing(["1 120", "2 200"], uids) == [
        Entry(1, "whqtswO00WBw418f9t5JxYwZ", 120),
        Entry(2, "QhdPYR:00WBw1Ph7x7", 200),
    ]


@pytest.mark.parametrize(
    ("rest", "size"),
    [
        ("0", 0),
        ("120 octets", 120),
        ("-1", 0),
        ("", 0),
        ("many", 0),
        ("1e3", 0),
        ("٣", 0),
        ("999999999999999999", 999_999_999_999_999_999),
        ("9223372036854775808", 0),
        ("9" * 400, 0),
        ("000000000000000000120", 0),
    ],
)
def test_a_size_is_a_hint_that_fits_64_bits(rest: str, size: int) -> None:
    """RFC 1939 section 5 allows text behind it."""
    (entry,) = parse_listing([f"1 {rest}"], [])
    assert entry == Entry(1, "", size)
    assert entry.size < 2**63


@pytest.mark.parametrize(
    ("uid", "kept"),
    [
        ("!~" * 35, True),
        ("x" * 255, True),
        ("x" * 256, False),
        ('a;"\\', True),
        ("with a space", True),
        ("UPPER and lower", True),
        ("grün", True),
        ("\\xff", True),
        ("a\tb", False),
        ("a\x00b", False),
        ("a\x1b[2J", False),
    ],
)
def test_a_uid_is_opaque(uid: str, kept: bool) -> None:
    """RFC 1939 section 7: 1 to 70 characters from 0x21 to 0x7E; more is kept where it can be an identity."""
    assert parse_listing(["1 1"], [f"1 {uid}"]) == [Entry(1, uid if kept else "", 1)]


def test_duplicate_uids_are_kept() -> None:
    """RFC 1939 section 7 allows it for identical messages."""
    assert [entry.uid for entry in parse_listing(["1 1", "2 1"], ["1 same", "2 same"])] == ["same", "same"]


def test_missing_or_incomplete_uidl() -> None:
    assert parse_listing(["2 20", "1 10"], []) == [Entry(1, "", 10), Entry(2, "", 20)]
    assert parse_listing(["1 10", "3 30"], ["3 c", "2 b", "1"]) == [Entry(1, "", 10), Entry(3, "c", 30)]
    assert parse_listing([], ["1 a"]) == []


def test_a_number_that_comes_twice_counts_once() -> None:
    assert parse_listing(["1 10", "1 20"], ["1 a", "1 b"]) == [Entry(1, "b", 20)]


@pytest.mark.parametrize(
    "line", ["", " ", "x", "-1 5", "0 5", "+1 5", "1\t5", "١ 5", "12345678901 5", "1.5 5", "1,5", "00 1"]
)
def test_a_line_without_a_number(line: str) -> None:
    for sizes, uids in (([line], []), (["1 1"], [line])):
        with pytest.raises(RemoteProtocolError, match="without a message number"):
            parse_listing(sizes, uids)


@given(st.lists(st.text(max_size=30)), st.lists(st.text(max_size=30)))
def test_garbage_is_an_entry_or_an_error(sizes: list[str], uids: list[str]) -> None:
    try:
        entries = parse_listing(sizes, uids)
    except RemoteProtocolError:
        return
    assert [entry.number for entry in entries] == sorted({entry.number for entry in entries})
    assert all(0 <= entry.size < 2**63 and entry.uid.isprintable() for entry in entries)


def test_parsing_20000_entries_is_linear() -> None:
    sizes = [f"{number} {number * 100}" for number in range(1, 20_001)]
    uids = [f"{number} {number:08x}deadbeef" for number in range(1, 20_001)]
    started = time.process_time()
    entries = parse_listing(sizes, uids)
    assert time.process_time() - started < 2
    assert entries[-1] == Entry(20_000, "00004e20deadbeef", 2_000_000)
