"""Unwraps S/MIME messages (RFC 8551) that are signed or compressed. Signatures are not verified.

It contains a minimal BER reader (X.690), because mails may use indefinite lengths and constructed strings, which DER
libraries do not support.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from mailslot_plugins.intake.refusal import IntakeRefusedError

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


class _InvalidBerError(ValueError):
    """The data is not valid BER."""


def unwrap_smime(octets: bytes, max_octets: int) -> bytes | None:
    """Return the mail in a signed or compressed message; None if there is none, or it is damaged.

    Args:
        octets: the message.
        max_octets: the most octets after decompression.

    Raises:
        IntakeRefusedError: it is encrypted.
    """
    try:
        [outer] = _elements(octets, 0, len(octets), limit=1)
        content_type, content = list(_elements(octets, outer.start, outer.end, limit=2))[:2]
        name = octets[content_type.start : content_type.end]
        if outer.tag != _SEQUENCE or content_type.tag != _OID:
            return None
        if name not in {_SIGNED, _COMPRESSED}:
            raise IntakeRefusedError("The mail is encrypted.")
        [inner] = _elements(octets, content.start, content.end, limit=1)
        encapsulated = next(
            each
            for number, each in enumerate(_elements(octets, inner.start, inner.end, limit=3))
            if number == 2 and each.tag == _SEQUENCE
        )
        content_element = next(
            each for each in _elements(octets, encapsulated.start, encapsulated.end, limit=2) if each.tag == _EXPLICIT
        )
        found = b"".join(_strings(octets, content_element.start, content_element.end, 0))
        return found if name == _SIGNED else zlib.decompressobj().decompress(found, max_octets)
    except (_InvalidBerError, ValueError, StopIteration, IndexError, zlib.error):
        return None


def _strings(octets: bytes, start: int, end: int, depth: int) -> Iterator[bytes]:
    if depth > _MAX_DEPTH:
        raise _InvalidBerError
    for each in _elements(octets, start, end):
        if each.tag == _OCTETS:
            yield octets[each.start : each.end]
        elif each.tag == _CONSTRUCTED_OCTETS:
            yield from _strings(octets, each.start, each.end, depth + 1)


def _elements(octets: bytes, start: int, end: int, *, limit: int = -1, depth: int = 0) -> Iterator[_Element]:
    while start < end and limit and octets[start : start + 2] != b"\0\0":
        element = _element(octets, start, end, depth)
        yield element
        start = element.following
        limit -= 1


def _element(octets: bytes, at: int, end: int, depth: int) -> _Element:
    if depth > _MAX_DEPTH or at + 2 > end:
        raise _InvalidBerError
    tag, length = octets[at], octets[at + 1]
    at += 2
    if length == 0x80:
        last = at
        for inner in _elements(octets, at, end, depth=depth + 1):
            last = inner.following
        return _Element(tag, at, last, last + 2)
    if length > 0x80:
        length_octets = length - 0x80
        if length_octets > 4 or at + length_octets > end:
            raise _InvalidBerError
        length = int.from_bytes(octets[at : at + length_octets])
        at += length_octets
    # A truncated element may still contain the wanted data.
    return _Element(tag, at, min(at + length, end), at + length)
