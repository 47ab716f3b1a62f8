"""Whatever a caller hands over as a message, made a stream whose size is known."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, cast, runtime_checkable

from mailslot.errors import InputError
from mailslot.wire.dots import LineEndNormalizer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from email.message import EmailMessage
    from email.message import Message as StandardMessage

PIECE: Final = 65_536
"""Octets sent at once."""

_SLACK: Final = 2 * PIECE
"""Octets that a stream may have too many before it is stopped; its size is compared at its end."""

# Bcc and Resent-Bcc with their folded lines (RFC 5322 section 3.6.3).
_BLIND: Final = re.compile(rb"^(?:resent-)?bcc[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)", re.IGNORECASE | re.MULTILINE)

# A line end, whatever it is, before an empty line.
_HEADER_END: Final = re.compile(rb"(?:\r\n|\r(?!\n)|(?<!\r)\n)(?=[\r\n])")

_LOCAL_PART: Final = re.compile(r"[\s<>,;:\"]")


@runtime_checkable
class Content(Protocol):
    """A message as the session sends it."""

    @property
    def size(self) -> int:
        """Its exact octets with CRLF line ends, before dots are stuffed."""
        ...

    @property
    def eight_bit(self) -> bool:
        """Whether it holds octets over 127."""
        ...

    @property
    def smtputf8(self) -> bool:
        """Whether its header does, so that it may only go where SMTPUTF8 is offered."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the octets, from the beginning, each time that it is called."""
        ...


class BytesContent:
    """A message that is in memory already; line ends become CRLF and blind copies leave its header.

    Attributes:
        data: the octets, with the line ends that they came with.
    """

    def __init__(self, data: bytes) -> None:
        header, rest = _split(data)
        if re.search(rb"^(?:resent-)?bcc", header, re.IGNORECASE | re.MULTILINE):
            header = _BLIND.sub(b"", header)
            data, rest = header + rest, b""
        self.data = data
        self.eight_bit = not data.isascii()
        self.smtputf8 = not header.isascii()
        self.size = canonical_size(data)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Return the octets in pieces."""
        for piece in _pieces(self.data):
            yield piece


def canonical_size(data: bytes) -> int:
    """Return how many octets `data` has once every line ends with CRLF, the last one too."""
    canonical = LineEndNormalizer()
    for piece in _pieces(data):
        canonical.feed(piece)
    canonical.finish()
    return canonical.size


async def read(content: Content) -> AsyncGenerator[bytes]:
    """Return the octets of `content`; whatever goes wrong with them is no fault of the server's.

    Raises:
        InputError: they cannot be read, are no octets, or are more than was said.
    """
    pieces: AsyncIterator[object] | None = None
    left = content.size + _SLACK
    try:
        pieces = content.chunks()
        async for piece in pieces:
            if not isinstance(piece, (bytes, bytearray, memoryview)):
                raise TypeError(f"a piece is a {type(piece).__name__}, not bytes")
            left -= len(piece)
            if left < 0:
                raise ValueError(f"more than the {content.size} octets that were announced")
            yield bytes(piece)
    except InputError:
        raise
    except Exception as error:
        # An error of the library's own too: a message that is being fetched may be refused, and this is not that.
        raise InputError(
            "The message cannot be read.", stage="data", detail=f"{type(error).__name__}: {error}"
        ) from error
    finally:
        if close := getattr(pieces, "aclose", None):
            # What is given up has no more to say.
            with suppress(Exception):
                await close()


async def beginning(content: Content, pieces: AsyncIterator[bytes], most: int) -> bytes:
    """Return the beginning of a message: more than `most` octets, or all that there are.

    Args:
        content: the message.
        pieces: what `read` gives of it; they go on behind the beginning.
        most: octets.

    Raises:
        InputError: it cannot be read, or is over already and not as long as it says.
    """
    head = bytearray()
    async for piece in pieces:
        head += piece
        if len(head) > most:
            return bytes(head)
    hold_to_size(content, canonical_size(bytes(head)))
    return bytes(head)


def hold_to_size(content: Content, size: int) -> None:
    """Refuse a message that has other than the octets that it announced.

    Raises:
        InputError: it has.
    """
    if size != content.size:
        raise InputError(
            "The message is not the one that was announced; nothing was delivered.",
            stage="data",
            detail=f"{size} octets instead of {content.size}",
        )


def as_content(message: bytes | StandardMessage | Content) -> Content:
    """Return `message` as a stream, at once: of a long one, `content_of` holds nothing else up.

    Args:
        message: an RFC 5322 message as octets with any line ends; a message of the standard library, which is
            put into 7-bit form; or a stream such as `mailslot.message.Message`.

    Raises:
        InputError: it is none of these, or the standard library cannot put it into octets.
    """
    if isinstance(message, (bytes, bytearray, memoryview)):
        return BytesContent(bytes(message))
    if isinstance(message, Content):
        return message
    # The standard library's message is only imported, at 7 ms, where somebody hands something else over.
    from email.message import Message as StandardMessage  # noqa: PLC0415

    if isinstance(message, StandardMessage):
        return BytesContent(flatten(message))
    raise InputError(
        f"The message is a {type(message).__name__}; it must be bytes, an EmailMessage or a mailslot Message.",
        stage="data",
    )


def flatten(message: StandardMessage) -> bytes:
    """Return a message of the standard library in octets, in 7-bit form.

    Raises:
        InputError: the standard library cannot do it.
    """
    # The standard library's own generators are only needed, and only imported, here.
    from email.generator import BytesGenerator  # noqa: PLC0415
    from email.policy import SMTP, SMTPUTF8  # noqa: PLC0415
    from io import BytesIO  # noqa: PLC0415

    octets = BytesIO()
    try:
        fields = ("from", "sender", "reply-to", "to", "cc", "resent-from", "resent-to", "resent-cc")
        addresses = [str(value) for name in fields for value in message.get_all(name, [])]
        # What stands before an @, back to the blank or bracket that begins it.
        locals_ = [_LOCAL_PART.split(part)[-1] for text in addresses for part in text.split("@")[:-1]]
        international = not all(local.isascii() for local in locals_)
        policy = (SMTPUTF8 if international else SMTP).clone(cte_type="7bit")
        BytesGenerator(octets, mangle_from_=False, policy=policy).flatten(cast("EmailMessage", message))
    except Exception as error:
        raise InputError(
            "The message cannot be put into octets.",
            stage="data",
            detail=f"{type(error).__name__}: {error}",
        ) from error
    return octets.getvalue()


def _pieces(data: bytes) -> Iterator[bytes]:
    if len(data) <= PIECE:
        yield data
        return
    view = memoryview(data)
    for at in range(0, len(view), PIECE):
        yield bytes(view[at : at + PIECE])


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Return the header, without bare CRs, and the rest from the empty line on."""
    if data[:1] in {b"\r", b"\n"}:
        return b"", data
    match = _HEADER_END.search(data)
    end = len(data) if match is None else match.end()
    header = data[:end]
    if header.count(b"\r") != header.count(b"\r\n"):
        header = header.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return header, data[end:]
