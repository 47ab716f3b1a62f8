"""Attachments: a file that is read when the message is sent, or octets in memory."""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from mailslot.errors import InputError
from mailslot.message.filename import name_parameters, safe_name
from mailslot.message.header import ascii_field, fold
from mailslot.message.transfer_encoding import base64_pieces

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_WORD: Final = r"[\w!#$%&'*+.^`{|}~-]+"
_TYPE: Final = re.compile(rf'{_WORD}/{_WORD}(?:; ?{_WORD}=(?:{_WORD}|"[ !#-\[\]-~]*"))*', re.ASCII)
_MAX_TYPE: Final = 200
_UNKNOWN: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file or octets to attach; created by `from_path` or `from_bytes`.

    Attributes:
        name: the file name that the recipient sees, made safe.
        content_type: the media type, with parameters if any.
        size: the octets, before base64.
        source: the file's path, or the octets.

    Raises:
        InputError: there are no octets, or name or type cannot be used.
    """

    name: str
    content_type: str
    size: int
    source: Path | bytes = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", safe_name(self.name))
        if len(self.content_type) > _MAX_TYPE or not _TYPE.fullmatch(self.content_type):
            raise InputError(f"{self.content_type[:80]!r} is not a content type.", stage="data")
        if _is_composite(self.content_type):
            raise InputError(f"{self.content_type!r} cannot be attached.", stage="data")
        if self.size <= 0:
            raise InputError(f"The attachment {self.name!r} is empty.", stage="data")

    @classmethod
    def from_path(
        cls,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        content_type: str | None = None,
    ) -> Attachment:
        """Attach a file, which is read while the message is sent and must not change until then.

        Args:
            path: an existing file that is not empty.
            name: the name that the recipient sees; None for the file's own.
            content_type: the media type; None to guess it from the name.

        Raises:
            InputError: the file is missing, unreadable, empty or not a regular file, or name or type
                cannot be used.
        """
        path = Path(path).absolute()
        try:
            status = path.stat()
            # Never open a pipe: that would block until its other end is opened.
            if stat.S_ISREG(status.st_mode):
                path.open("rb").close()
        except (OSError, ValueError) as error:
            raise _unreadable_error(path, error) from None
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{_describe(path)} is not a file.", stage="data")
        name = path.name if name is None else name
        return cls(name, content_type or _guess_type(name), status.st_size, path)

    @classmethod
    def from_bytes(cls, data: bytes, name: str, content_type: str | None = None) -> Attachment:
        """Attach octets.

        Args:
            data: at least one octet.
            name: the file name that the recipient sees.
            content_type: the media type; None to guess it from the name.

        Raises:
            InputError: there are none, or name or type cannot be used.
        """
        return cls(name, content_type or _guess_type(name), len(data), bytes(data))

    @property
    def is_file(self) -> bool:
        """Whether its octets are read from a file."""
        return not isinstance(self.source, bytes)

    def header(self, name: str) -> str:
        """Return the header of its MIME part, with the empty line.

        Args:
            name: its file name in this message, made unique there.
        """
        return (
            ascii_field("Content-Type", self.content_type)
            + fold("Content-Disposition", [" attachment;", *name_parameters(name)])
            + "Content-Transfer-Encoding: base64\r\n\r\n"
        )

    @contextmanager
    def open(self) -> Generator[BinaryIO]:
        """Open it for reading, which blocks.

        Raises:
            InputError: the file is gone, cannot be read, or has another size than before.
        """
        if isinstance(self.source, bytes):
            yield BytesIO(self.source)
            return
        try:
            opened = self.source.open("rb")
        except OSError as error:
            raise _unreadable_error(self.source, error) from None
        with opened:
            if os.fstat(opened.fileno()).st_size != self.size:
                raise self._changed_error()
            yield opened

    def encode(self, opened: BinaryIO) -> Iterator[bytes]:
        """Yield an open attachment as base64, in pieces. Blocks.

        Raises:
            InputError: the file turned out shorter or longer, or could not be read to its end.
        """
        try:
            yield from base64_pieces(opened.read, self.size)
        except EOFError:
            raise self._changed_error() from None
        except OSError as error:
            raise _unreadable_error(self.source, error) from None

    def _changed_error(self) -> InputError:
        return InputError(
            f"{_describe(self.source)} has changed since it was attached.",
            stage="data",
            detail=f"it had {self.size} octets",
        )


def _is_composite(content_type: str) -> bool:
    """Whether a type must not be in base64 (RFC 2045 section 6.4)."""
    return content_type.lower().startswith(("multipart/", "message/"))


def _guess_type(name: str) -> str:
    # Loading its tables takes longer than importing this whole package.
    import mimetypes  # noqa: PLC0415 - not needed if the type is known

    guess, compression = mimetypes.guess_type(name, strict=False)
    if guess is None or compression is not None or _is_composite(guess):
        return _UNKNOWN
    return guess


def _describe(source: Path | bytes) -> str:
    return "The attachment" if isinstance(source, bytes) else f"The file {str(source)!r}"


def _unreadable_error(source: Path | bytes, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        why = "does not exist"
    elif isinstance(error, PermissionError):
        why = "may not be read by this program"
    else:
        why = "cannot be read"
    return InputError(f"{_describe(source)} {why}.", stage="data", detail=str(error))
