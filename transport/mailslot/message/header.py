"""Header fields: folded, in 7-bit form, and safe from header injection.

The standard library's folding alters values: it loses white space in subjects of mixed scripts, and turns long message
identifiers into encoded words. Here a value is either ASCII, folded at white space and otherwise unchanged, or encoded
as a whole (RFC 2047), so that a reader decodes exactly the given value.
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
"""Characters of a line: the limit for encoded words (RFC 2047 section 2); for other lines it is 78."""

MAX_WORD: Final = 900
"""Characters of a word that is not encoded to split it: a line may have 998 octets (RFC 5322 section 2.1.1)."""

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
    """Return `name` if it is a valid field name (RFC 5322 section 2.2).

    Raises:
        InputError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"A header field cannot be called {name[:80]!r}.", stage="data")
    return name


def fold(name: str, tokens: Iterable[str]) -> str:
    """Return a folded header field, with its CRLF.

    Args:
        name: the field's name.
        tokens: the value in tokens that are not split; each begins with the white space at which the line may be
            folded.
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
    return fold(name, [f" {word}" for word in _encode_words(value, name)])


def ascii_field(name: str, value: str) -> str:
    """Return a field of ASCII words, folded between words and never encoded."""
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
        InputError: one of them is invalid.
    """
    tokens: list[str] = []
    for identifier in identifiers:
        if not _IDENTIFIER.fullmatch(identifier):
            raise InputError(
                f"The value for {name} is not a message identifier, such as <name@domain>.",
                stage="data",
                detail=ascii(identifier[:200]),
            )
        tokens.append(f" {identifier}")
    return fold(name, tokens)


def date_field(date: datetime) -> str:
    """Return the Date field (RFC 5322 section 3.3).

    Raises:
        InputError: the date has no time zone.
    """
    offset = date.utcoffset()
    if offset is None:
        raise InputError("The date has no time zone.", stage="data")
    minutes, rest = divmod(round(offset.total_seconds()), 60)
    if rest:
        # Offsets are written in hours and minutes, but historical local times may have seconds.
        date, minutes = date - offset, 0
    sign = "-" if minutes < 0 else "+"
    hours, minutes = divmod(abs(minutes), 60)
    return (
        f"Date: {_DAYS[date.weekday()]}, "
        f"{date.day:02} {_MONTHS[date.month - 1]} {date.year:04} "
        f"{date.hour:02}:{date.minute:02}:{date.second:02} {sign}{hours:02}{minutes:02}\r\n"
    )


def _is_plain(value: str) -> bool:
    """Tell whether `value` needs no encoding: a reader would neither decode nor strip anything."""
    return _ASCII_TEXT.fullmatch(value) is not None and "=?" not in value


def _phrase(display_name: str, field: str) -> list[str]:
    """Return a display name as atoms, a quoted string or encoded words (RFC 5322 section 3.2.5)."""
    if len(display_name) <= _MAX_PHRASE and _is_plain(display_name):
        if _ATOMS.fullmatch(display_name):
            return display_name.split(" ")
        escaped = display_name.replace("\\", "\\\\").replace('"', '\\"')
        return [f'"{escaped}"']
    return list(_encode_words(display_name, field))


def _encode_words(value: str, field: str) -> Iterator[str]:
    """Yield `value` as encoded words, split between characters, short enough to follow the name `field`."""
    octets = value.encode()
    room = max(WIDTH - len(field) - len(": ") - _ENCODED_WORD_COST, 16) // 4 * 3
    start = 0
    while start < len(octets):
        end = start + room
        while end < len(octets) and octets[end] & 0xC0 == 0x80:
            end -= 1
        yield _ENCODED_WORD.format(b2a_base64(octets[start:end], newline=False).decode("ascii"))
        start = end
