"""The listing of a maildrop (RFC 1939 sections 5 and 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.pop3.limits import MAX_DIGITS, MAX_UID
from mailslot.wire.protocol_error import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Entry:
    """A message in the maildrop.

    Attributes:
        number: its number in this session, from 1.
        uid: its unique-id, the same in every session; empty if the server has none.
        size: its octets according to the server, as a hint; 0 if that is invalid.
    """

    number: int
    uid: str
    size: int


def make_entries(sizes: Iterable[tuple[int, str]], uids: Iterable[tuple[int, str]]) -> list[Entry]:
    """Return the entries in the order of their numbers.

    Args:
        sizes: the lines of LIST, from `parse_listing_lines`.
        uids: the lines of UIDL; empty if the server does not know it.
    """
    size_of = {number: _parse_size(rest) for number, rest in sizes}
    uid_of = {number: _parse_uid(rest) for number, rest in uids}
    return [Entry(number, uid_of.get(number, ""), size_of[number]) for number in sorted(size_of)]


def parse_listing_lines(lines: list[str]) -> list[tuple[int, str]]:
    """Return the message number in each line, and the rest of the line.

    Raises:
        RemoteProtocolError: a line does not begin with a message's number.
    """
    return list(map(_parse_line, lines))


def _parse_line(line: str) -> tuple[int, str]:
    word, _, rest = line.strip().partition(" ")
    number = int(word) if word.isascii() and word.isdigit() and len(word) <= 10 else 0
    if not number:
        raise RemoteProtocolError(f"a listing's line without a message number: {line[:40]!a}")
    return number, rest.strip()


def _parse_size(text: str) -> int:
    size = text.split(" ", maxsplit=1)[0]
    return int(size) if size.isascii() and size.isdigit() and len(size) <= MAX_DIGITS else 0


def _parse_uid(text: str) -> str:
    # One that is longer than the RFC allows still identifies a message; an invalid one counts as missing.
    return text if 0 < len(text) <= MAX_UID and text.isprintable() else ""
