"""Output files that a person asked for: written whole or not at all, and never over another by accident."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mailslot.errors import MailError

_EXISTS = "it is there already; --force writes over it"
_NO_FILE = "it is no file of its own, but a link, a pipe or a device"


class OutputError(MailError):
    """The file could not be written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be written: {reason}.", stage="resolve", cause="output_unwritable")


def check_output(path: Path, *, force: bool) -> None:
    """Refuse early what `write_output` would refuse.

    Raises:
        OutputError: there is a folder, or a file that may not be written over.
    """
    if path.is_dir():
        raise OutputError(path, "it is a folder")
    # A new file takes the place of the old one; that of /dev/null or /dev/stdout is not for it to take.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OutputError(path, _NO_FILE)
    if path.exists() and not force:
        raise OutputError(path, _EXISTS)


def write_output(path: Path, octets: bytes, *, force: bool) -> None:
    """Write a file that only its owner can read; it is on the disk once this returns.

    Args:
        path: where.
        octets: what it is to hold.
        force: whether it may take the place of another.

    Raises:
        OutputError: it is there already, or cannot be written; nothing is left behind.
    """
    check_output(path, force=force)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OutputError(path, error.strerror or type(error).__name__) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        _put(temporary, path, force=force)
    except FileExistsError as error:
        raise OutputError(path, _EXISTS) from error
    except OSError as error:
        raise OutputError(path, error.strerror or type(error).__name__) from error
    finally:
        temporary.unlink(missing_ok=True)


def _put(temporary: Path, path: Path, *, force: bool) -> None:
    if force:
        temporary.replace(path)
        return
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:
        # Memory sticks have a file system without links.
        if path.exists():
            raise FileExistsError from None
        temporary.replace(path)
