"""Header fields: folded, 7-bit clean, and such that nothing in them can end a line.

The standard library's folding changes what it folds: it loses white space in subjects of mixed
scripts, and turns long message identifiers into encoded words. So a value here is either ASCII,
which is folded at white space and left alone, or encoded as a whole (RFC 2047), and what a reader
decodes is what was given.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from mailslot.message.mailbox import Mailbox

WIDTH: Final = 76
"""A line's characters: what encoded words allow (RFC 2047 section 2); 78 is the limit elsewhere."""

MAX_WORD: Final = 900
"""The characters of a word that is left whole: a line has 998 octets (RFC 5322 section 2.1.1)."""

_MAX_PHRASE: Final = 60
_ENCODED_WORD: Final = "=?utf-8?B?{}?="
_ENCODED_WORD_COST: Final = len(_ENCODED_WORD.format(""))

_ASCII_TEXT: Final = re.compile(r"[!-~](?:[\t -~]*[!-~])?")
_WORD: Final = re.compile(r"[\t ]*[^\t ]+")
_ATOM: Final = r"[\w!#$%&'*+/=?^`{|}~-]+"
_ATOMS: Final = re.compile(rf"{_ATOM}(?: {_ATOM})*", re.ASCII)
_NAME: Final = re.compile(r"[!-9;-~]{1,60}")
_IDENTIFIER: Final = re.compile(rf"<[!-;=?-~]{{1,{MAX_WORD - 2}}}>")

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def check_name(name: str) -> str:
    """Return `name` if a header field can be called so (RFC 5322 section 2.2).

    Raises:
        InputError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"A header field cannot be called {name[:80]!r}.", stage="data")
    return name


def fold(name: str, tokens: Iterable[str]) -> str:
    """Return a header field with its CRLF.

    Args:
        name: the field's name.
        tokens: its value in pieces that stay whole; each begins with the white space before it,
            and only there a line may end.
    """
    line = f"{name}:"
    lines: list[str] = []
    for token in tokens:
        if len(line) + len(token) > WIDTH and (lines or len(line) > len(name) + 1):
            lines.append(line)
            line = ""
        line += token
    lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def text_field(name: str, value: str) -> str:
    """Return a field of unstructured text, such as Subject (RFC 5322 section 2.2.1)."""
    if _is_plain(value):
        if len(name) + len(": ") + len(value) <= WIDTH:
            return f"{name}: {value}\r\n"
        words: list[str] = _WORD.findall(f" {value}")
        if max(map(len, words)) <= MAX_WORD:
            return fold(name, words)
    return fold(name, [f" {word}" for word in _encoded_words(value, name)])


def words_field(name: str, value: str) -> str:
    """Return a field of ASCII words, folded between them and never encoded."""
    return fold(name, _WORD.findall(f" {value}"))


def mailboxes_field(name: str, mailboxes: Iterable[Mailbox]) -> str:
    """Return a field of addresses (RFC 5322 section 3.4, RFC 6532 section 3.2)."""
    tokens: list[str] = []
    for mailbox in mailboxes:
        if tokens:
            tokens[-1] += ","
        if mailbox.name:
            tokens += [f" {word}" for word in _phrase(mailbox.name, name)]
            tokens.append(f" <{mailbox.wire}>")
        else:
            tokens.append(f" {mailbox.wire}")
    return fold(name, tokens)


def identifiers_field(name: str, identifiers: Iterable[str]) -> str:
    """Return a field of message identifiers, ``<…>`` in ASCII (RFC 5322 section 3.6.4).

    Raises:
        InputError: one of them is none.
    """
    tokens: list[str] = []
    for identifier in identifiers:
        if not _IDENTIFIER.fullmatch(identifier):
            raise InputError(
                f"What {name} is to hold is no message identifier, such as <name@domain>.",
                stage="data",
                detail=ascii(identifier[:200]),
            )
        tokens.append(f" {identifier}")
    return fold(name, tokens)


def date_field(moment: datetime) -> str:
    """Return the Date field (RFC 5322 section 3.3).

    Raises:
        InputError: the moment has no zone.
    """
    offset = moment.utcoffset()
    if offset is None:
        raise InputError("The date has no time zone.", stage="data")
    minutes, rest = divmod(round(offset.total_seconds()), 60)
    if rest:
        # Zones are written in hours and minutes; local mean times of old have seconds besides.
        moment, minutes = moment - offset, 0
    sign = "-" if minutes < 0 else "+"
    hours, minutes = divmod(abs(minutes), 60)
    return (
        f"Date: {_DAYS[moment.weekday()]}, "
        f"{moment.day:02} {_MONTHS[moment.month - 1]} {moment.year:04} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} {sign}{hours:02}{minutes:02}\r\n"
    )


def _is_plain(value: str) -> bool:
    """Whether a reader sees `value` itself: nothing in it would be decoded or stripped."""
    return _ASCII_TEXT.fullmatch(value) is not None and "=?" not in value


def _phrase(display_name: str, field: str) -> list[str]:
    """Return a display name as atoms, a quoted string or encoded words (RFC 5322 section 3.2.5)."""
    if len(display_name) <= _MAX_PHRASE and _is_plain(display_name):
        if _ATOMS.fullmatch(display_name):
            return display_name.split(" ")
        escaped = display_name.replace("\\", "\\\\").replace('"', '\\"')
        return [f'"{escaped}"']
    return list(_encoded_words(display_name, field))


def _encoded_words(value: str, field: str) -> Iterator[str]:
    """Give `value` as encoded words of whole characters, short enough to follow `field`."""
    octets = value.encode()
    room = max(WIDTH - len(field) - len(": ") - _ENCODED_WORD_COST, 16) // 4 * 3
    start = 0
    while start < len(octets):
        end = start + room
        while end < len(octets) and octets[end] & 0xC0 == 0x80:
            end -= 1
        yield _ENCODED_WORD.format(b2a_base64(octets[start:end], newline=False).decode("ascii"))
        start = end
