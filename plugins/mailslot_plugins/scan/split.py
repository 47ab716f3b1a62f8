"""A document in parts that are each complete and small enough."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, NoReturn

from anyio import BrokenWorkerProcess, to_process, to_thread

from mailslot.errors import InputError
from mailslot.spool.errors import full_error
from mailslot.spool.limits import format_size
from mailslot_plugins.scan.document import Document, look_at
from mailslot_plugins.scan.split_tiff import split_tiff

if TYPE_CHECKING:
    from collections.abc import Sequence


class TooLargeError(InputError):
    """A mail would be larger than the mail server takes; nothing was sent."""

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(sentence, stage="data", cause="message_too_large", detail=detail)


async def split(document: Document, folder: Path, room: int) -> list[Document]:
    """Return the parts of a PDF or TIFF file.

    Args:
        document: the file.
        folder: where the parts go; a folder is made in it.
        room: the most octets of a part.

    Raises:
        TooLargeError: it cannot be split, or a page alone is too large; with the numbers.
        InputError: it changed while it was read.
    """
    if document.kind not in {"pdf", "tiff"}:
        _cannot(document, room, "only PDF and TIFF files can be split")
    place = Path(await to_thread.run_sync(mkdtemp, None, "parts-", folder))
    try:
        found = await _parts(document, place, room)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise full_error(f"There is no room to split {document.name!r}: the disk is full.", str(error)) from error
        why = error.strerror or type(error).__name__
        raise InputError(f"{document.name!r} cannot be split: {why}.", stage="data", detail=str(error)) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        _cannot(document, room, str(error))
    await to_thread.run_sync(document.check)
    if isinstance(found, int):
        _cannot(document, room, f"a page of it alone has {format_size(found)}")
    return await to_thread.run_sync(_named, document, found)


async def _parts(document: Document, place: Path, room: int) -> list[Path] | int:
    if document.kind == "tiff":
        return await to_thread.run_sync(split_tiff, document.path, place, room)
    from mailslot_plugins.scan.split_pdf import PdfError, split_pdf  # noqa: PLC0415 - PDFium is large

    try:
        # Whatever a broken file does to PDFium, it does not do it to us.
        return await to_process.run_sync(split_pdf, document.path, place, room, cancellable=True)
    except BrokenWorkerProcess:
        raise PdfError("it is damaged") from None


def _named(document: Document, paths: Sequence[Path]) -> list[Document]:
    parts = [look_at(path, document.name) for path in paths]
    return [replace(part, part=(number, len(parts))) for number, part in enumerate(parts, start=1)]


def _cannot(document: Document, room: int, why: str) -> NoReturn:
    raise TooLargeError(
        f"{document.name!r} has {format_size(document.size)}, a mail has room for {format_size(max(room, 0))}, "
        f"and it cannot be split: {why}. Nothing was sent.",
        detail=f"{document.size} octets, room for {room}",
    )
