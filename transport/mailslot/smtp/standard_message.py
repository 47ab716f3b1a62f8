"""A long message of the standard library as a stream, with exactly the octets that its generator would write.

The generator serializes a whole message at once, twice, which blocks the event loop. So it gets the message with a
marker in place of each long payload; its output is split at the markers, and the payloads are encoded in between as
they are sent.
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

from mailslot.smtp.content import PIECE_SIZE, BytesContent, flatten, is_content, to_content
from mailslot.wire.dot_stuffing import LineEndNormalizer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from email.message import Message as StandardMessage

    from mailslot.smtp.content import Content

STREAMING_THRESHOLD: Final = 65_536
"""Characters above which a payload is streamed; the rest of the message is serialized at once."""

MAX_INLINE_SIZE: Final = 1_048_576
"""Octets of a message that are scanned without a worker thread."""

_BASE64_LINE: Final = 57
"""Octets in a line of base64, as in the standard library (`email.base64mime.body_encode`)."""


async def prepare_content(message: bytes | StandardMessage | Content) -> Content:
    """Return a message as a stream, as `to_content` does, without blocking the event loop.

    Raises:
        InputError: as for `to_content`.
    """
    if isinstance(message, (bytes, bytearray, memoryview)):
        if len(message) > MAX_INLINE_SIZE:
            return await run_sync(to_content, message, abandon_on_cancel=True)
        return to_content(message)
    if is_content(message):
        return message
    # Imported only if needed, as in `to_content`.
    from email.message import Message as StandardMessage  # noqa: PLC0415

    return await stream_message(message) if isinstance(message, StandardMessage) else to_content(message)


async def stream_message(message: StandardMessage) -> Content:
    """Return a message as a stream; a short one, or one that cannot be split, is serialized at once.

    Raises:
        InputError: the standard library cannot serialize it.
    """
    placeholders: list[_Placeholder] = []
    try:
        skeleton = _without_long_payloads(message, placeholders)
        use_thread = sum(len(payload) for payload in _text_payloads(skeleton)) > STREAMING_THRESHOLD
    except Exception:  # noqa: BLE001 - an unusual message; the generator reports what is wrong with it
        placeholders, skeleton, use_thread = [], message, True
    flattened = await _flatten_content(skeleton, in_thread=use_thread)
    if not placeholders:
        return flattened
    pieces = _split_at_placeholders(flattened.data, placeholders)
    if pieces is not None:
        try:
            size = await _measure(pieces)
        except UnicodeError:
            pass
        else:
            return _StreamedContent(pieces, size, eight_bit=flattened.eight_bit, smtputf8=flattened.smtputf8)
    return await _flatten_content(message, in_thread=True)


async def _flatten_content(message: StandardMessage, *, in_thread: bool) -> BytesContent:
    if in_thread:
        return await run_sync(lambda: BytesContent(flatten(message)), abandon_on_cancel=True)
    return BytesContent(flatten(message))


@dataclass(frozen=True)
class _Placeholder:
    """The place of a long payload.

    Attributes:
        marker: what the generator writes in its place.
        payload: the payload, as the standard library stores it, with octets over 127 as surrogates.
        base64: whether it is encoded in base64, as the generator does with 8-bit UTF-8 to get 7-bit form.
    """

    marker: bytes
    payload: str
    base64: bool

    def octets(self) -> Iterator[bytes]:
        """Yield the octets, with their original line ends.

        Raises:
            UnicodeError: the payload is not ASCII or UTF-8.
        """
        step = _BASE64_LINE * (PIECE_SIZE // 80) if self.base64 else PIECE_SIZE
        decoder = codecs.getincrementaldecoder("utf-8")()
        for start in range(0, len(self.payload), step):
            octets = self.payload[start : start + step].encode("ascii", "surrogateescape")
            if not self.base64:
                yield octets
                continue
            # Only the generator knows how to encode what is not UTF-8.
            decoder.decode(octets, start + step >= len(self.payload))
            yield b"".join(b2a_base64(octets[at : at + _BASE64_LINE]) for at in range(0, len(octets), _BASE64_LINE))


class _StreamedContent:
    """A message in pieces: the generator's output and the payloads; see `mailslot.smtp.content.Content`."""

    def __init__(self, pieces: list[bytes | _Placeholder], size: int, *, eight_bit: bool, smtputf8: bool) -> None:
        self.size = size
        self.eight_bit = eight_bit
        self.smtputf8 = smtputf8
        self._pieces = pieces

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Return the octets."""
        for octets in _octets_of(self._pieces):
            yield octets


def _octets_of(pieces: list[bytes | _Placeholder]) -> Iterator[bytes]:
    for piece in pieces:
        if isinstance(piece, _Placeholder):
            yield from piece.octets()
        else:
            yield piece


async def _measure(pieces: list[bytes | _Placeholder]) -> int:
    normalizer = LineEndNormalizer()
    for octets in _octets_of(pieces):
        normalizer.feed(octets)
        await anyio.lowlevel.checkpoint()
    normalizer.finish()
    return normalizer.size


def _without_long_payloads(message: StandardMessage, placeholders: list[_Placeholder]) -> StandardMessage:
    """Return a copy with a placeholder for each long payload; headers are neither copied nor changed."""
    payload = _payload(message)
    if isinstance(payload, str) and len(payload) > STREAMING_THRESHOLD:
        # The generator writes text payloads of these types unchanged.
        is_container = message.get_content_maintype() in {"multipart", "message"}
        return message if is_container else _with_placeholder(message, payload, placeholders)
    # The generator's output for a delivery status depends on how its parts end.
    if not isinstance(payload, list) or message.get_content_type() == "message/delivery-status":
        return message
    parts = cast("list[StandardMessage]", payload)
    new_parts = [_without_long_payloads(part, placeholders) for part in parts]
    if all(new is old for new, old in zip(new_parts, parts, strict=True)):
        return message
    changed = copy(message)
    changed.set_payload([*new_parts])
    return changed


def _with_placeholder(message: StandardMessage, payload: str, placeholders: list[_Placeholder]) -> StandardMessage:
    """Return a copy with a placeholder for the payload; the message itself if only the generator can encode it."""
    # The marker needs no encoding, and with one non-ASCII character it fits into one line of base64.
    marker = f"mark-{secrets.token_hex(16)}"
    changed = copy(message)
    if payload.isascii():
        changed.set_payload(marker)
        placeholders.append(_Placeholder(marker.encode(), payload, base64=False))
        return changed
    charset = message.get_param("charset")
    if not isinstance(charset, str) or charset.lower() not in {"utf-8", "utf8"}:
        return message
    octets = f"ü{marker}".encode()
    changed.set_payload(octets.decode("ascii", "surrogateescape"))
    placeholders.append(_Placeholder(b2a_base64(octets).rstrip(b"\n") + b"\r\n", payload, base64=True))
    return changed


def _payload(message: StandardMessage) -> object:
    # `get_payload` would decode 8-bit payloads, which cannot be undone.
    return cast("object", getattr(message, "_payload", None))


def _text_payloads(message: StandardMessage) -> Iterator[str]:
    payload = _payload(message)
    if isinstance(payload, list):
        for part in cast("list[StandardMessage]", payload):
            yield from _text_payloads(part)
    elif isinstance(payload, str):
        yield payload


def _split_at_placeholders(octets: bytes, placeholders: list[_Placeholder]) -> list[bytes | _Placeholder] | None:
    """Return the octets with the payloads in their places; None if a marker is missing or not unique."""
    pieces: list[bytes | _Placeholder] = []
    for placeholder in placeholders:
        before, marker, octets = octets.partition(placeholder.marker)
        if not marker or placeholder.marker in octets:
            return None
        pieces += [before, placeholder]
    return [*pieces, octets]
