"""A long message of the standard library as a stream, octet by octet what its own generator would write.

The generator writes a whole message in one piece, twice, and nothing else has a turn meanwhile. Here it is given the
message with a mark in the place of each long payload; what it writes is cut at the marks, and the payloads are encoded
between them as they are sent.
"""

from __future__ import annotations

import codecs
import secrets
from binascii import b2a_base64
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import anyio.lowlevel
from anyio.to_thread import run_sync

from mailslot.smtp.content import PIECE, BytesContent, Content, as_content, flatten
from mailslot.wire.dots import LineEndNormalizer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from email.message import Message as StandardMessage

LONG: Final = 65_536
"""Characters of a payload from which on it is streamed; what a message has besides is written in one piece."""

LONGEST_AT_ONCE: Final = 1_048_576
"""Octets of a message that are looked through in one go."""

_LINE: Final = 57
"""Octets of a line in base64, as the standard library cuts them (`email.base64mime.body_encode`)."""


async def content_of(message: bytes | StandardMessage | Content) -> Content:
    """Return a message as a stream, as `as_content` does; however long it is, others have their turns meanwhile.

    Raises:
        InputError: as for `as_content`.
    """
    if isinstance(message, (bytes, bytearray, memoryview)):
        if len(message) > LONGEST_AT_ONCE:
            return await run_sync(as_content, message, abandon_on_cancel=True)
        return as_content(message)
    if isinstance(message, Content):
        return message
    # As there, it is only imported where it is needed.
    from email.message import Message as StandardMessage  # noqa: PLC0415

    return await streamed(message) if isinstance(message, StandardMessage) else as_content(message)


async def streamed(message: StandardMessage) -> Content:
    """Return a message as a stream; a short one, or one that cannot be taken apart, as octets.

    Raises:
        InputError: the standard library cannot put it into octets.
    """
    holes: list[_Hole] = []
    try:
        skeleton = _without_long_payloads(message, holes)
        long = sum(len(payload) for payload in _payloads(skeleton)) > LONG
    except Exception:  # noqa: BLE001 - it is no message of the usual kind; its own generator says what is wrong with it
        holes, skeleton, long = [], message, True
    shell = await _octets(skeleton, in_thread=long)
    if not holes:
        return shell
    pieces = _cut(shell.data, holes)
    if pieces is not None:
        try:
            size = await _size(pieces)
        except UnicodeError:
            pass
        else:
            return _Pieces(pieces, size, eight_bit=shell.eight_bit, smtputf8=shell.smtputf8)
    return await _octets(message, in_thread=True)


async def _octets(message: StandardMessage, *, in_thread: bool) -> BytesContent:
    if in_thread:
        return await run_sync(lambda: BytesContent(flatten(message)), abandon_on_cancel=True)
    return BytesContent(flatten(message))


@dataclass(frozen=True)
class _Hole:
    """The place of a long payload.

    Attributes:
        mark: what stands there in what the generator writes.
        payload: what is to stand there: octets as the standard library keeps them, those over 127 as surrogates.
        base64: whether it is encoded: to put a message into 7-bit form, the generator does so with 8-bit UTF-8.
    """

    mark: bytes
    payload: str
    base64: bool

    def octets(self) -> Iterator[bytes]:
        """Yield the octets, with the line ends that they came with.

        Raises:
            UnicodeError: it is not of that kind.
        """
        at_once = _LINE * (PIECE // 80) if self.base64 else PIECE
        decoder = codecs.getincrementaldecoder("utf-8")()
        for start in range(0, len(self.payload), at_once):
            octets = self.payload[start : start + at_once].encode("ascii", "surrogateescape")
            if not self.base64:
                yield octets
                continue
            # What is no UTF-8 is not for us to say how to encode.
            decoder.decode(octets, start + at_once >= len(self.payload))
            yield b"".join(b2a_base64(octets[at : at + _LINE]) for at in range(0, len(octets), _LINE))


class _Pieces:
    """A message in pieces: what the generator wrote, and the payloads between.

    Attributes:
        size: as for every content, as are the others.
    """

    def __init__(self, pieces: list[bytes | _Hole], size: int, *, eight_bit: bool, smtputf8: bool) -> None:
        self.size = size
        self.eight_bit = eight_bit
        self.smtputf8 = smtputf8
        self._pieces = pieces

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Give the octets."""
        for octets in _all(self._pieces):
            yield octets


def _all(pieces: list[bytes | _Hole]) -> Iterator[bytes]:
    for piece in pieces:
        if isinstance(piece, _Hole):
            yield from piece.octets()
        else:
            yield piece


async def _size(pieces: list[bytes | _Hole]) -> int:
    canonical = LineEndNormalizer()
    for octets in _all(pieces):
        canonical.feed(octets)
        await anyio.lowlevel.checkpoint()
    canonical.finish()
    return canonical.size


def _without_long_payloads(message: StandardMessage, holes: list[_Hole]) -> StandardMessage:
    """Return a copy with a mark in the place of each long payload; none of its headers is copied or changed."""
    payload = _payload(message)
    if isinstance(payload, str) and len(payload) > LONG:
        # Of these, the generator writes a text as it is.
        whole = message.get_content_maintype() in {"multipart", "message"}
        return message if whole else _marked(message, payload, holes)
    # What it writes of a delivery status's parts depends on how they end.
    if not isinstance(payload, list) or message.get_content_type() == "message/delivery-status":
        return message
    parts = cast("list[StandardMessage]", payload)
    below = [_without_long_payloads(part, holes) for part in parts]
    if all(new is old for new, old in zip(below, parts, strict=True)):
        return message
    other = copy(message)
    other.set_payload([*below])
    return other


def _marked(message: StandardMessage, payload: str, holes: list[_Hole]) -> StandardMessage:
    """Return a copy with a mark in the place of its payload; the message itself where it has to be encoded whole."""
    # No character of it is encoded, and with one that is, it fits a line of base64.
    mark = f"mark-{secrets.token_hex(16)}"
    other = copy(message)
    if payload.isascii():
        other.set_payload(mark)
        holes.append(_Hole(mark.encode(), payload, base64=False))
        return other
    charset = message.get_param("charset")
    if not isinstance(charset, str) or charset.lower() not in {"utf-8", "utf8"}:
        return message
    octets = f"ü{mark}".encode()
    other.set_payload(octets.decode("ascii", "surrogateescape"))
    holes.append(_Hole(b2a_base64(octets).rstrip(b"\n") + b"\r\n", payload, base64=True))
    return other


def _payload(message: StandardMessage) -> object:
    # As it is kept: `get_payload` decodes what is 8-bit, and that cannot be undone.
    return cast("object", getattr(message, "_payload", None))


def _payloads(message: StandardMessage) -> Iterator[str]:
    payload = _payload(message)
    if isinstance(payload, list):
        for part in cast("list[StandardMessage]", payload):
            yield from _payloads(part)
    elif isinstance(payload, str):
        yield payload


def _cut(octets: bytes, holes: list[_Hole]) -> list[bytes | _Hole] | None:
    """Return the octets with the payloads in their places; None where one has no place, or several."""
    pieces: list[bytes | _Hole] = []
    for hole in holes:
        before, mark, octets = octets.partition(hole.mark)
        if not mark or hole.mark in octets:
            return None
        pieces += [before, hole]
    return [*pieces, octets]
