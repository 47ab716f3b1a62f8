"""Addresses in From and its like, as programs write them (RFC 5322 section 3.4).

What decides is where an address stands: in angle brackets, else alone. An address in the place of a name is a name,
with or without quotation marks, so that ``a@example.com <a@example.com>`` is one sender, and nobody is who stands
before the brackets of somebody else. What can be read in two ways is no address.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot_plugins.intake.comments import without_comments

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ADDRESSES: Final = 50
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|<[^<>]*>|[,;:<>]|[^"<>,;:]+', re.DOTALL)
_BARE: Final = re.compile(r"[^\s<>\"(),:;@\[\]\\\x00-\x1f\x7f]+@[^\s<>\"(),:;@\\\x00-\x1f\x7f]+")


def addresses(value: str) -> list[str]:
    """Return the addresses in a field; one that cannot be told for certain is there, and empty.

    Args:
        value: the field, its encoded words not decoded: what stands in them is a name and never an address.
    """
    plain = without_comments(value)
    if not plain.strip():
        return [""] if value.strip() else []
    found: list[str] = []
    unnamed = False
    for mailbox in _mailboxes(plain):
        text, angles = mailbox.text.strip(), mailbox.angles
        if mailbox.broken or len(angles) > 1 or (mailbox.quoted and text and not angles):
            found += ["", ""]
        elif angles:
            found.append(_certain(angles[0].strip()))
        elif "@" in text:
            found.append(_certain(text))
        else:
            # It may be the beginning of «Müller, Alice <alice@example.com>», which should have been quoted.
            unnamed = unnamed or bool(text) or mailbox.quoted
            continue
        unnamed = False
        if len(found) > MAX_ADDRESSES:
            break
    return [*found, *([""] if unnamed else [])][:MAX_ADDRESSES]


def _certain(address: str) -> str:
    if not _BARE.fullmatch(address):
        return ""
    # A letter that looks to a comparison like another one would let a stranger pass.
    if not address.isascii() and unicodedata.normalize("NFKC", address.casefold()).isascii():
        return ""
    return address


@dataclass(slots=True)
class _Mailbox:
    """What stands between commas."""

    text: str = ""
    quoted: bool = False
    broken: bool = False
    angles: list[str] = field(default_factory=list[str])


def _mailboxes(value: str) -> Iterator[_Mailbox]:
    mailbox = _Mailbox()
    for token in _TOKEN.finditer(value):
        said = token[0]
        if said in {",", ";"}:
            yield mailbox
            mailbox = _Mailbox()
        elif said == ":" and not mailbox.angles and "@" not in mailbox.text:
            # What stands before it is the name of a group.
            mailbox = _Mailbox()
        elif said[0] == '"':
            mailbox.quoted = True
        elif said[0] == "<" and said[-1] == ">" and len(said) > 1:
            mailbox.angles.append(said[1:-1])
        elif said in {"<", ">"}:
            mailbox.broken = True
        else:
            mailbox.text += said
    yield mailbox
