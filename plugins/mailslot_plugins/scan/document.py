"""A file to be mailed: its kind, and its state when it was inspected."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError
from mailslot.message import Attachment

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["pdf", "tiff", "jpeg", "png", "other"]

SUFFIXES: Final = {"pdf": ".pdf", "tiff": ".tif", "jpeg": ".jpg", "png": ".png", "other": ""}
"""The suffix of each kind, for documents without a name."""

_KNOWN_SUFFIXES: Final = {"pdf": {".pdf"}, "tiff": {".tif", ".tiff"}, "jpeg": {".jpg", ".jpeg"}, "png": {".png"}}
_CONTENT_TYPES: Final = {"pdf": "application/pdf", "tiff": "image/tiff", "jpeg": "image/jpeg", "png": "image/png"}
_HEAD_SIZE: Final = 1024
"""Octets within which a PDF's header may begin (ISO 32000-1, annex H, note 13)."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file as it was when it was inspected.

    Attributes:
        path: the file.
        name: its name, for patterns and for people.
        kind: its kind, by its first octets.
        state: the file's state, to detect changes.
        part: the number of this part and how many parts there are; None for a whole document.
    """

    path: Path
    name: str
    kind: Kind
    state: FileState
    part: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """Its size in octets."""
        return self.state.size

    @property
    def suffix(self) -> str:
        """Its suffix: that of its name if it fits its kind, else the usual one."""
        suffix = Path(self.name).suffix
        fits = self.kind == "other" or suffix.lower() in _KNOWN_SUFFIXES[self.kind]
        return suffix if fits else SUFFIXES[self.kind]

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return self.name.removesuffix(Path(self.name).suffix)

    def attachment(self, name: str) -> Attachment:
        """Return it as the attachment of a message.

        Raises:
            InputError: it has changed, or cannot be read any more.
        """
        attachment = Attachment.from_path(self.path, name=name, content_type=_CONTENT_TYPES.get(self.kind))
        if attachment.size != self.size:
            raise changed_error(self)
        return attachment

    def check(self) -> None:
        """Check that the file has not changed since it was inspected.

        Raises:
            InputError: it has changed, or is gone.
        """
        try:
            now = FileState.of(self.path.stat())
        except OSError as error:
            raise InputError(f"The file {self.name!r} has vanished.", stage="data", detail=str(error)) from None
        if now != self.state:
            raise changed_error(self)


@dataclass(frozen=True, slots=True)
class FileState:
    """The state of a file, which differs after it was written to or replaced: size, modification time and inode."""

    size: int
    modified: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        """Return the state from a result of stat(2)."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class FileChangedError(InputError):
    """The file was written to while it was read; it may be read again later."""


def changed_error(document: Document) -> FileChangedError:
    """Return the error for a file that has changed."""
    return FileChangedError(
        f"The file {document.name!r} changed while it was read.", stage="data", detail=f"it had {document.size} octets"
    )


def inspect_file(path: Path, name: str | None = None) -> Document:
    """Inspect a file and return it as a document.

    Args:
        path: the file.
        name: its name; None for the file's own.

    Raises:
        InputError: it is missing, unreadable, empty, or not a regular file.
    """
    name = path.name if name is None else name
    try:
        # Opening a pipe would otherwise block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable_error(name, error) from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{name!r} is a folder; name the files in it.", stage="data")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(
                f"{name!r} is not a file; to mail the output of a pipe, use - for standard input.", stage="data"
            )
        if not status.st_size:
            raise InputError(f"The file {name!r} is empty.", stage="data")
        head = os.read(descriptor, _HEAD_SIZE)
    except OSError as error:
        raise _unreadable_error(name, error) from None
    finally:
        os.close(descriptor)
    return Document(path, name, detect_kind(head), FileState.of(status))


def inspect_files(paths: Iterable[Path]) -> list[Document]:
    """Inspect several files and return them as documents.

    Raises:
        InputError: some cannot be used; the sentence names all of them.
    """
    documents: list[Document] = []
    errors: list[InputError] = []
    for path in paths:
        try:
            documents.append(inspect_file(path))
        except InputError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise InputError(f"{' '.join(map(str, errors))} Nothing was sent.", stage="data")
    return documents


def detect_kind(head: bytes) -> Kind:
    """Return a file's kind by its first octets."""
    if head.startswith((b"II*\0", b"MM\0*")):
        return "tiff"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "pdf" if b"%PDF-" in head[:_HEAD_SIZE] else "other"


def _unreadable_error(name: str, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        why = "does not exist"
    elif isinstance(error, PermissionError):
        why = "may not be read by this program"
    else:
        why = f"cannot be read: {error.strerror}"
    return InputError(f"The file {name!r} {why}.", stage="data", detail=str(error))
