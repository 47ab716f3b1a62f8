"""Parses addresses in From and similar fields, as programs write them (RFC 5322 section 3.4).

An address counts only in angle brackets, or alone. An address in place of a display name is a name, quoted or not:
``a@example.com <a@example.com>`` is one sender, and an address before somebody else's brackets is ignored. A field
that can be read in two ways has no address.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot_plugins.intake.comments import strip_comments

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ADDRESSES: Final = 50
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|<[^<>]*>|[,;:<>]|[^"<>,;:]+', re.DOTALL)
_BARE: Final = re.compile(r"[^\s<>\"(),:;@\[\]\\\x00-\x1f\x7f]+@[^\s<>\"(),:;@\\\x00-\x1f\x7f]+")


def parse_addresses(value: str) -> list[str]:
    """Return the addresses in a field; an ambiguous one is returned as an empty string.

    Args:
        value: the field, with its encoded words not decoded: they are names and never addresses.
    """
    plain = strip_comments(value)
    if not plain.strip():
        return [""] if value.strip() else []
    found: list[str] = []
    unfinished_name = False
    for mailbox in _mailboxes(plain):
        text, angles = mailbox.text.strip(), mailbox.angles
        if mailbox.broken or len(angles) > 1 or (mailbox.quoted and text and not angles):
            found += ["", ""]
        elif angles:
            found.append(_unambiguous(angles[0].strip()))
        elif "@" in text:
            found.append(_unambiguous(text))
        else:
            # It may be the beginning of an unquoted name: «Müller, Alice <alice@example.com>».
            unfinished_name = unfinished_name or bool(text) or mailbox.quoted
            continue
        unfinished_name = False
        if len(found) > MAX_ADDRESSES:
            break
    return [*found, *([""] if unfinished_name else [])][:MAX_ADDRESSES]


def _unambiguous(address: str) -> str:
    if not _BARE.fullmatch(address):
        return ""
    # A letter that is equivalent to an ASCII letter could let a stranger pass a comparison.
    if not address.isascii() and unicodedata.normalize("NFKC", address.casefold()).isascii():
        return ""
    return address


@dataclass(slots=True)
class _Mailbox:
    """The text between two commas."""

    text: str = ""
    quoted: bool = False
    broken: bool = False
    angles: list[str] = field(default_factory=list[str])


def _mailboxes(value: str) -> Iterator[_Mailbox]:
    mailbox = _Mailbox()
    for token in _TOKEN.finditer(value):
        matched = token[0]
        if matched in {",", ";"}:
            yield mailbox
            mailbox = _Mailbox()
        elif matched == ":" and not mailbox.angles and "@" not in mailbox.text:
            # The text before a colon is the name of a group.
            mailbox = _Mailbox()
        elif matched[0] == '"':
            mailbox.quoted = True
        elif matched[0] == "<" and matched[-1] == ">" and len(matched) > 1:
            mailbox.angles.append(matched[1:-1])
        elif matched in {"<", ">"}:
            mailbox.broken = True
        else:
            mailbox.text += matched
    yield mailbox
