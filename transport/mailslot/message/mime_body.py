"""The MIME body of a message: text, or text and attachments (RFC 2046)."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.message.filename import unique_names
from mailslot.message.header import fold
from mailslot.message.transfer_encoding import PIECE_SIZE, base64_size, encode_text

if TYPE_CHECKING:
    from collections.abc import Generator

    from mailslot.message.attachment import Attachment

# "=_" never occurs in base64 or quoted-printable (RFC 2045 section 6.7), and nobody can guess 128 random bits to put
# them into a plain text.
_BOUNDARY: Final = re.compile(r"=_[0-9A-Za-z]{14,60}")


class MimeBody:
    """The MIME fields of a message, the empty line and the body.

    Attributes:
        attachments: the attachments.
        size: the exact size in octets.
    """

    __slots__ = ("_closing", "_opening", "_parts", "attachments", "size")

    def __init__(self, text: str, attachments: tuple[Attachment, ...], boundary: str | None) -> None:
        """Build the parts.

        Args:
            text: the text; if it is empty and there are attachments, it has no part.
            attachments: the attachments, in their order.
            boundary: the boundary between the parts; None for a random one.

        Raises:
            InputError: the text has lone surrogates, or the boundary is invalid or occurs in the text.
        """
        self.attachments: Final = attachments
        self._opening = _text_part(text)
        self._parts: list[bytes] = []
        self._closing = b""
        if attachments:
            self._make_multipart(has_text=bool(text), boundary=boundary)
        self.size: Final = (
            len(self._opening)
            + sum(map(len, self._parts))
            + sum(base64_size(attachment.size) for attachment in attachments)
            + len(self._closing)
        )

    def _make_multipart(self, *, has_text: bool, boundary: str | None) -> None:
        part = self._opening
        if boundary is None:
            boundary = f"=_{os.urandom(16).hex()}"
        if not _BOUNDARY.fullmatch(boundary) or boundary.encode() in part:
            raise InputError("The boundary cannot be used for this message.", stage="data", detail=boundary)
        delimiter = f"--{boundary}".encode()
        fields = fold("Content-Type", [" multipart/mixed;", f' boundary="{boundary}"'])
        self._opening = fields.encode() + b"\r\n"
        # The CRLF before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1): after text it is added, while
        # after an attachment it is the one of the last line of base64.
        if has_text:
            self._opening += delimiter + b"\r\n" + part + b"\r\n"
        names = unique_names(attachment.name for attachment in self.attachments)
        for attachment, name in zip(self.attachments, names, strict=True):
            self._parts.append(delimiter + b"\r\n" + attachment.header(name).encode())
        self._closing = delimiter + b"--\r\n"

    @property
    def is_blocking(self) -> bool:
        """Whether `pieces` reads files or encodes so much that it should run in a worker thread."""
        return self.size > PIECE_SIZE or any(attachment.is_file for attachment in self.attachments)

    def pieces(self, header: bytes) -> Generator[bytes]:
        """Yield `header` and then the body, in pieces of about `PIECE_SIZE` octets.

        All files are opened and checked before the first piece, and closed before the last one.

        Raises:
            InputError: a file is gone, cannot be read, or has another size than before.
        """
        if not self.attachments:
            yield header + self._opening
            return
        pending = [header, self._opening]
        with ExitStack() as stack:
            opened = [stack.enter_context(attachment.open()) for attachment in self.attachments]
            for attachment, part, source in zip(self.attachments, self._parts, opened, strict=True):
                pending.append(part)
                for encoded in attachment.encode(source):
                    pending.append(encoded)
                    if sum(map(len, pending)) >= PIECE_SIZE:
                        yield b"".join(pending)
                        pending.clear()
        pending.append(self._closing)
        yield b"".join(pending)


def _text_part(text: str) -> bytes:
    try:
        encoding, octets = encode_text(text)
    except UnicodeEncodeError as error:
        raise InputError("The text holds broken characters.", stage="data", detail=str(error)) from None
    fields = f'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
    return fields.encode() + octets
