"""Output files: written completely or not at all, and never over another by accident."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

from mailslot.errors import MailError

_EXISTS = "it is there already; --force writes over it"
_NO_FILE = "it is not a regular file, but a link, a pipe or a device"


class OutputError(MailError):
    """A file cannot be written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be written: {reason}.", stage="resolve", cause="output_unwritable")


def check_output(path: Path, *, force: bool) -> None:
    """Raise the error that `write_output` would raise, before the work is done.

    Raises:
        OutputError: it is a folder, or an existing file that must not be replaced.
    """
    if path.is_dir():
        raise OutputError(path, "it is a folder")
    # Writing replaces the old file, which must not happen to /dev/null or /dev/stdout.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OutputError(path, _NO_FILE)
    if path.exists() and not force:
        raise OutputError(path, _EXISTS)


def write_output(path: Path, contents: bytes | IO[bytes], *, force: bool) -> None:
    """Write a file that only its owner can read; with `force`, over another one. It is on the disk when this returns.

    Args:
        path: the file.
        contents: its octets, or an open file with them.
        force: whether an existing file is replaced.

    Raises:
        OutputError: the file exists, or cannot be written; nothing is left behind.
    """
    check_output(path, force=force)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except FileNotFoundError as error:
        raise OutputError(path, f"there is no folder {path.parent}") from error
    except OSError as error:
        raise OutputError(path, error.strerror or type(error).__name__) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            if isinstance(contents, bytes):
                file.write(contents)
            else:
                shutil.copyfileobj(contents, file)
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
        # FAT, as on memory sticks, has no links.
        if path.exists():
            raise FileExistsError from None
        temporary.replace(path)
