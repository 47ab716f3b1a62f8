"""A file that is to be mailed: what it is, and as what it was seen."""

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
"""How the name of each kind ends, where nobody has named it."""

_OWN_SUFFIXES: Final = {"pdf": {".pdf"}, "tiff": {".tif", ".tiff"}, "jpeg": {".jpg", ".jpeg"}, "png": {".png"}}
_TYPES: Final = {"pdf": "application/pdf", "tiff": "image/tiff", "jpeg": "image/jpeg", "png": "image/png"}
_HEAD: Final = 1024
"""A PDF's header may stand anywhere in so many octets (ISO 32000-1, annex H, note 13)."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file as it was when it was looked at.

    Attributes:
        path: the file.
        name: what it was called, for patterns and for people.
        kind: what its first octets say that it is.
        state: what changes when the file does.
        part: which part of a larger document it is, and of how many; None for a whole one.
    """

    path: Path
    name: str
    kind: Kind
    state: FileState
    part: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """Its octets."""
        return self.state.size

    @property
    def suffix(self) -> str:
        """How its name ends: as before, where that fits to what it is."""
        own = Path(self.name).suffix
        fits = self.kind == "other" or own.lower() in _OWN_SUFFIXES[self.kind]
        return own if fits else SUFFIXES[self.kind]

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return self.name.removesuffix(Path(self.name).suffix)

    def attachment(self, name: str) -> Attachment:
        """Return it as the attachment of a message.

        Args:
            name: what it is to be called.

        Raises:
            InputError: it has changed, or cannot be read any more.
        """
        attachment = Attachment.from_path(self.path, name=name, content_type=_TYPES.get(self.kind))
        if attachment.size != self.size:
            raise changed(self)
        return attachment

    def check(self) -> None:
        """See that the file is the one that was looked at.

        Raises:
            InputError: it has changed, or is gone.
        """
        try:
            now = FileState.of(self.path.stat())
        except OSError as error:
            raise InputError(f"The file {self.name!r} has vanished.", stage="data", detail=str(error)) from None
        if now != self.state:
            raise changed(self)


@dataclass(frozen=True, slots=True)
class FileState:
    """What differs once a file was written or replaced: its octets, when, and which file it is."""

    size: int
    modified: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        """Return it from what stat(2) says."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class ChangedError(InputError):
    """The file was written to while it was read; once that has ended it may be read again."""


def changed(document: Document) -> ChangedError:
    """Return the error for a file that is not what it was."""
    return ChangedError(
        f"The file {document.name!r} changed while it was read.", stage="data", detail=f"it had {document.size} octets"
    )


def look_at(path: Path, name: str | None = None) -> Document:
    """Return what a file is.

    Args:
        path: the file.
        name: what to call it; None for its own name.

    Raises:
        InputError: it is missing, unreadable, empty, or no file.
    """
    name = path.name if name is None else name
    try:
        # A pipe would otherwise be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(name, error) from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{name!r} is a folder; name the files in it.", stage="data")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{name!r} is no file; to mail what a pipe gives, use - for standard input.", stage="data")
        if not status.st_size:
            raise InputError(f"The file {name!r} is empty.", stage="data")
        head = os.read(descriptor, _HEAD)
    except OSError as error:
        raise _unreadable(name, error) from None
    finally:
        os.close(descriptor)
    return Document(path, name, kind_of(head), FileState.of(status))


def look_at_all(paths: Iterable[Path]) -> list[Document]:
    """Return what several files are.

    Raises:
        InputError: some cannot be used; all of them are named.
    """
    found: list[Document] = []
    faults: list[InputError] = []
    for path in paths:
        try:
            found.append(look_at(path))
        except InputError as error:
            faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise InputError(f"{' '.join(map(str, faults))} Nothing was sent.", stage="data")
    return found


def kind_of(head: bytes) -> Kind:
    """Return what the first octets of a file say that it is."""
    if head.startswith((b"II*\0", b"MM\0*")):
        return "tiff"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "pdf" if b"%PDF-" in head[:_HEAD] else "other"


def _unreadable(name: str, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        why = "does not exist"
    elif isinstance(error, PermissionError):
        why = "may not be read by this program"
    else:
        why = f"cannot be read: {error.strerror}"
    return InputError(f"The file {name!r} {why}.", stage="data", detail=str(error))
