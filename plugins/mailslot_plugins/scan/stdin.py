"""Standard input as a document."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO, Final

from anyio import to_thread

from mailslot.errors import InputError
from mailslot.spool.limits import format_size
from mailslot_plugins.scan.document import SUFFIXES, Document, kind_of, look_at

if TYPE_CHECKING:
    from pathlib import Path

MOST: Final = 2_000_000_000
"""Octets that are taken; a mail takes no more in any case."""

_PIECE: Final = 1 << 18


async def read_stdin(folder: Path) -> Document:
    """Read standard input to its end into a file.

    Args:
        folder: where the file goes.

    Raises:
        InputError: it is empty, a keyboard, or too large; or the file cannot be written.
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
            while piece := source.read(_PIECE):
                head = head or piece
                size += len(piece)
                if size > MOST:
                    raise InputError(
                        f"Standard input holds more than {format_size(MOST)}. Nothing was sent.",
                        stage="data",
                        cause="message_too_large",
                    )
                target.write(piece)
    except OSError as error:
        raise InputError(
            f"Standard input cannot be kept: {error.strerror}.", stage="data", cause="spool_full", detail=str(error)
        ) from error
    if not size:
        raise InputError("Standard input is empty. Nothing was sent.", stage="data")
    return look_at(path, f"scan{SUFFIXES[kind_of(head)]}")
