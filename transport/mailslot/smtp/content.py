"""Messages as streams of known size, from whatever the caller passes."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, cast

from mailslot.errors import InputError
from mailslot.wire.dot_stuffing import LineEndNormalizer, WholeMessage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from email.message import EmailMessage
    from email.message import Message as StandardMessage
    from typing import TypeGuard

PIECE_SIZE: Final = 65_536
"""Octets sent at once."""

SMALL_MESSAGE: Final = 16_384
"""Octets up to which a message is sent at once, without listening meanwhile; this fits into the socket's send buffer
(Linux: the default of tcp_wmem)."""

_SLACK: Final = 2 * PIECE_SIZE
"""Surplus octets after which a stream is stopped early; its exact size is checked at its end."""

# Bcc and Resent-Bcc with their folded lines (RFC 5322 section 3.6.3).
_BCC_FIELD: Final = re.compile(
    rb"^(?:resent-)?bcc[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)", re.IGNORECASE | re.MULTILINE
)

# Any line end before an empty line.
_HEADER_END: Final = re.compile(rb"(?:\r\n|\r(?!\n)|(?<!\r)\n)(?=[\r\n])")

_BCC_NAME: Final = re.compile(rb"^(?:resent-)?bcc", re.IGNORECASE | re.MULTILINE)

_LOCAL_PART: Final = re.compile(r"[\s<>,;:\"]")


class Content(Protocol):
    """A message that a session can send."""

    @property
    def size(self) -> int:
        """Its exact size in octets, with CRLF line ends, before dot-stuffing."""
        ...

    @property
    def eight_bit(self) -> bool:
        """Whether it contains octets over 127."""
        ...

    @property
    def smtputf8(self) -> bool:
        """Whether its header contains such octets, so that it needs SMTPUTF8."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the octets; each call begins at the start."""
        ...


class InMemoryContent:
    """A content that need not be read in pieces if it is short.

    Attributes:
        whole: the octets of a short message as they are sent; None for a longer one.
    """

    __slots__ = ()

    whole: WholeMessage | None


class BytesContent(InMemoryContent):
    """A message in memory. Its Bcc fields are removed; line ends become CRLF when it is sent.

    Attributes:
        data: the octets, with their original line ends.
    """

    def __init__(self, data: bytes) -> None:
        whole = WholeMessage(data) if len(data) <= PIECE_SIZE else None
        header, end = _find_header(data, with_crlf=whole is not None and whole.lines is data)
        if _BCC_NAME.search(header):
            header = _BCC_FIELD.sub(b"", header)
            data = header + data[end:]
            whole = whole and WholeMessage(data)
        self.data = data
        self.eight_bit = not data.isascii()
        self.smtputf8 = self.eight_bit and not header.isascii()
        self.whole = whole
        self.size = normalized_size(data) if whole is None else whole.size

    async def chunks(self) -> AsyncIterator[bytes]:
        """Return the octets in pieces."""
        for piece in _pieces(self.data):
            yield piece


def normalized_size(data: bytes) -> int:
    """Return the size of `data` with CRLF at the end of every line, including the last."""
    normalizer = LineEndNormalizer()
    for piece in _pieces(data):
        normalizer.feed(piece)
    normalizer.finish()
    return normalizer.size


async def read_content(content: Content) -> AsyncGenerator[bytes]:
    """Yield the octets of `content`; any error becomes an `InputError`, so that it is not taken for the server's.

    Raises:
        InputError: they cannot be read, are not bytes, or are more than announced.
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
        # Including a MailError: it may come from another server from which the message is being fetched.
        raise InputError(
            "The message cannot be read.", stage="data", detail=f"{type(error).__name__}: {error}"
        ) from error
    finally:
        if close := getattr(pieces, "aclose", None):
            # Errors of an abandoned stream do not matter.
            with suppress(Exception):
                await close()


async def read_beginning(content: Content, pieces: AsyncIterator[bytes], at_least: int) -> bytes:
    """Return the beginning of a message: more than `at_least` octets, or the whole message if it is shorter.

    Args:
        content: the message.
        pieces: its octets from `read_content`; the rest stays in the iterator.
        at_least: the number of octets to exceed.

    Raises:
        InputError: it cannot be read, or ends with another size than announced.
    """
    head = bytearray()
    async for piece in pieces:
        head += piece
        if len(head) > at_least:
            return bytes(head)
    check_size(content, normalized_size(bytes(head)))
    return bytes(head)


def check_size(content: Content, size: int) -> None:
    """Check that a message has the size that it announced.

    Raises:
        InputError: it has not.
    """
    if size != content.size:
        raise InputError(
            "The message is not the one that was announced; nothing was delivered.",
            stage="data",
            detail=f"{size} octets instead of {content.size}",
        )


def is_content(message: object) -> TypeGuard[Content]:
    """Tell whether a message is a stream; `isinstance` would take ten times as long for a protocol."""
    return all(hasattr(message, name) for name in ("size", "eight_bit", "smtputf8", "chunks"))


def to_content(message: bytes | StandardMessage | Content) -> Content:
    """Return `message` as a stream. This blocks for long messages; `prepare_content` does not.

    Args:
        message: an RFC 5322 message in bytes with any line ends; a message of the standard library, which is
            serialized in 7-bit form; or a stream such as `mailslot.message.Message`.

    Raises:
        InputError: it is not one of these, or the standard library cannot serialize it.
    """
    if isinstance(message, (bytes, bytearray, memoryview)):
        return BytesContent(bytes(message))
    if is_content(message):
        return message
    # Imported only if needed, since it takes 7 ms.
    from email.message import Message as StandardMessage  # noqa: PLC0415

    if isinstance(message, StandardMessage):
        return BytesContent(flatten(message))
    raise InputError(
        f"The message is a {type(message).__name__}; it must be bytes, an EmailMessage or a mailslot Message.",
        stage="data",
    )


def flatten(message: StandardMessage) -> bytes:
    """Serialize a message of the standard library in 7-bit form.

    Raises:
        InputError: the standard library cannot serialize it.
    """
    # Imported only if needed.
    from email.generator import BytesGenerator  # noqa: PLC0415
    from email.policy import SMTP, SMTPUTF8  # noqa: PLC0415
    from io import BytesIO  # noqa: PLC0415

    octets = BytesIO()
    try:
        fields = ("from", "sender", "reply-to", "to", "cc", "resent-from", "resent-to", "resent-cc")
        addresses = [str(value) for name in fields for value in message.get_all(name, [])]
        # The local parts: what precedes each @, back to a blank or bracket.
        local_parts = [_LOCAL_PART.split(part)[-1] for text in addresses for part in text.split("@")[:-1]]
        international = not all(local.isascii() for local in local_parts)
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
    view = memoryview(data)
    for at in range(0, len(view), PIECE_SIZE):
        yield bytes(view[at : at + PIECE_SIZE])


def _find_header(data: bytes, *, with_crlf: bool) -> tuple[bytes, int]:
    """Return the header, without bare CRs, and where the rest begins, with the empty line.

    Args:
        data: the message.
        with_crlf: whether every line is known to end with CRLF.
    """
    if data[:1] in {b"\r", b"\n"}:
        return b"", 0
    if with_crlf and (found := data.find(b"\r\n\r\n")) >= 0:
        end = found + 2
        return data[:end], end
    match = _HEADER_END.search(data)
    end = len(data) if match is None else match.end()
    header = data[:end]
    if header.count(b"\r") != header.count(b"\r\n"):
        header = header.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return header, end
