"""S/MIME messages (RFC 8551) that are only signed or compressed: what is in them. Signatures are not verified.

A walk over BER (X.690), as far as is needed: a mail may use its indefinite lengths and constructed strings, which
libraries for DER do not read.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from mailslot_plugins.intake.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNED: Final = bytes.fromhex("2a864886f70d010702")
_COMPRESSED: Final = bytes.fromhex("2a864886f70d0109100109")
_SEQUENCE, _OID, _OCTETS, _EXPLICIT, _CONSTRUCTED_OCTETS = 0x30, 0x06, 0x04, 0xA0, 0x24
_MAX_DEPTH: Final = 12


class _Element(NamedTuple):
    tag: int
    start: int
    end: int
    following: int


class _BrokenError(ValueError):
    """It is no BER."""


def opened_content(octets: bytes, most: int) -> bytes | None:
    """Return the mail within a signed or compressed message; None where there is none, or it is damaged.

    Args:
        octets: the message.
        most: octets that a compressed one may become.

    Raises:
        Refused: it is encrypted.
    """
    try:
        [outer] = _elements(octets, 0, len(octets), most=1)
        kind, content = list(_elements(octets, outer.start, outer.end, most=2))[:2]
        name = octets[kind.start : kind.end]
        if outer.tag != _SEQUENCE or kind.tag != _OID:
            return None
        if name not in {_SIGNED, _COMPRESSED}:
            raise Refused("The mail is encrypted.")
        [inner] = _elements(octets, content.start, content.end, most=1)
        wrapped = next(
            each
            for number, each in enumerate(_elements(octets, inner.start, inner.end, most=3))
            if number == 2 and each.tag == _SEQUENCE
        )
        held = next(each for each in _elements(octets, wrapped.start, wrapped.end, most=2) if each.tag == _EXPLICIT)
        found = b"".join(_strings(octets, held.start, held.end, 0))
        return found if name == _SIGNED else zlib.decompressobj().decompress(found, most)
    except (_BrokenError, ValueError, StopIteration, IndexError, zlib.error):
        return None


def _strings(octets: bytes, start: int, end: int, depth: int) -> Iterator[bytes]:
    if depth > _MAX_DEPTH:
        raise _BrokenError
    for each in _elements(octets, start, end):
        if each.tag == _OCTETS:
            yield octets[each.start : each.end]
        elif each.tag == _CONSTRUCTED_OCTETS:
            yield from _strings(octets, each.start, each.end, depth + 1)


def _elements(octets: bytes, start: int, end: int, *, most: int = -1, depth: int = 0) -> Iterator[_Element]:
    while start < end and most and octets[start : start + 2] != b"\0\0":
        element = _element(octets, start, end, depth)
        yield element
        start = element.following
        most -= 1


def _element(octets: bytes, at: int, end: int, depth: int) -> _Element:
    if depth > _MAX_DEPTH or at + 2 > end:
        raise _BrokenError
    tag, length = octets[at], octets[at + 1]
    at += 2
    if length == 0x80:
        last = at
        for inner in _elements(octets, at, end, depth=depth + 1):
            last = inner.following
        return _Element(tag, at, last, last + 2)
    if length > 0x80:
        many = length - 0x80
        if many > 4 or at + many > end:
            raise _BrokenError
        length = int.from_bytes(octets[at : at + many])
        at += many
    # What is cut off at its end may still hold what is looked for.
    return _Element(tag, at, min(at + length, end), at + length)
