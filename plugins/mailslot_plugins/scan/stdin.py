"""Standard input as a document."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO, Final

from anyio import to_thread

from mailslot.errors import InputError
from mailslot.spool.limits import format_size
from mailslot_plugins.scan.document import SUFFIXES, Document, detect_kind, inspect_file

if TYPE_CHECKING:
    from pathlib import Path

MAX_SIZE: Final = 2_000_000_000
"""The most octets that are read; no mail takes more."""

_CHUNK_SIZE: Final = 1 << 18


async def read_stdin(folder: Path) -> Document:
    """Read standard input into a file.

    Args:
        folder: where the file is written.

    Raises:
        InputError: it is empty, a terminal, or too large; or the file cannot be written.
    """
    if sys.stdin.isatty():
        raise InputError("Standard input is a keyboard; name a file, or put < FILE after the command.", stage="data")
    return await to_thread.run_sync(_read, sys.stdin.buffer, folder, abandon_on_cancel=True)


def _read(source: BinaryIO, folder: Path) -> Document:
    path = folder / "stdin"
    size = 0
    head = b""
    try:
        with path.open("wb") as target:
            while chunk := source.read(_CHUNK_SIZE):
                head = head or chunk
                size += len(chunk)
                if size > MAX_SIZE:
                    raise InputError(
                        f"Standard input holds more than {format_size(MAX_SIZE)}. Nothing was sent.",
                        stage="data",
                        cause="message_too_large",
                    )
                target.write(chunk)
    except OSError as error:
        raise InputError(
            f"Standard input cannot be stored: {error.strerror}.", stage="data", cause="spool_full", detail=str(error)
        ) from error
    if not size:
        raise InputError("Standard input is empty. Nothing was sent.", stage="data")
    return inspect_file(path, f"scan{SUFFIXES[detect_kind(head)]}")
