"""What goes with a message: a file, read when the message is sent, or octets from memory."""

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
from mailslot.message.header import fold, words_field
from mailslot.message.transfer import base64_pieces

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_WORD: Final = r"[\w!#$%&'*+.^`{|}~-]+"
_TYPE: Final = re.compile(rf'{_WORD}/{_WORD}(?:; ?{_WORD}=(?:{_WORD}|"[ !#-\[\]-~]*"))*', re.ASCII)
_MAX_TYPE: Final = 200
_UNKNOWN: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file, or octets, to be sent as they are; made by `from_path` or `from_bytes`.

    Attributes:
        name: the file name that the receiver sees, made harmless.
        content_type: the media type, with its parameters if it has any.
        size: the octets before base64.
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
            raise InputError(f"{self.content_type[:80]!r} is no content type.", stage="data")
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
            name: the name that the receiver sees; None for the file's own.
            content_type: the media type; None to tell it by the name.

        Raises:
            InputError: the file is missing, unreadable, empty or no regular file, or name or type
                cannot be used.
        """
        path = Path(path).absolute()
        try:
            status = path.stat()
            # A pipe is not opened even to try: that would wait for its other end.
            if stat.S_ISREG(status.st_mode):
                path.open("rb").close()
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from None
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{_shown(path)} is not a file.", stage="data")
        name = path.name if name is None else name
        return cls(name, content_type or _guessed_type(name), status.st_size, path)

    @classmethod
    def from_bytes(cls, data: bytes, name: str, content_type: str | None = None) -> Attachment:
        """Attach octets.

        Args:
            data: at least one octet.
            name: the file name that the receiver sees.
            content_type: the media type; None to tell it by the name.

        Raises:
            InputError: there are none, or name or type cannot be used.
        """
        return cls(name, content_type or _guessed_type(name), len(data), bytes(data))

    @property
    def is_file(self) -> bool:
        """Whether its octets are read from a file."""
        return not isinstance(self.source, bytes)

    def header(self, name: str) -> str:
        """Return the header of its part of a message, and the empty line after it.

        Args:
            name: its file name in this message, which may have several of the same.
        """
        return (
            words_field("Content-Type", self.content_type)
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
            raise _unreadable(self.source, error) from None
        with opened:
            if os.fstat(opened.fileno()).st_size != self.size:
                raise self._changed()
            yield opened

    def encoded(self, opened: BinaryIO) -> Iterator[bytes]:
        """Give what `open` opened as base64, in pieces; reading them blocks.

        Raises:
            InputError: the file turned out shorter or longer, or could not be read to its end.
        """
        try:
            yield from base64_pieces(opened.read, self.size)
        except EOFError:
            raise self._changed() from None
        except OSError as error:
            raise _unreadable(self.source, error) from None

    def _changed(self) -> InputError:
        return InputError(
            f"{_shown(self.source)} has changed since it was attached.",
            stage="data",
            detail=f"it had {self.size} octets",
        )


def _is_composite(content_type: str) -> bool:
    """Whether a type must not be in base64 (RFC 2045 section 6.4)."""
    return content_type.lower().startswith(("multipart/", "message/"))


def _guessed_type(name: str) -> str:
    # Its tables take longer to load than all of this package.
    import mimetypes  # noqa: PLC0415 - not needed where the type is known

    guess, compression = mimetypes.guess_type(name, strict=False)
    if guess is None or compression is not None or _is_composite(guess):
        return _UNKNOWN
    return guess


def _shown(source: Path | bytes) -> str:
    return "The attachment" if isinstance(source, bytes) else f"The file {str(source)!r}"


def _unreadable(source: Path | bytes, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        why = "does not exist"
    elif isinstance(error, PermissionError):
        why = "may not be read by this program"
    else:
        why = "cannot be read"
    return InputError(f"{_shown(source)} {why}.", stage="data", detail=str(error))
