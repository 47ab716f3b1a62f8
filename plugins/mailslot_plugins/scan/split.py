"""Splits a document into parts that are each complete and small enough."""

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
from mailslot_plugins.scan.document import Document, inspect_file
from mailslot_plugins.scan.split_tiff import split_tiff

if TYPE_CHECKING:
    from collections.abc import Sequence


class TooLargeError(InputError):
    """A mail would be larger than the mail server takes; nothing was sent."""

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(sentence, stage="data", cause="message_too_large", detail=detail)


async def split_document(document: Document, folder: Path, max_size: int) -> list[Document]:
    """Return the parts of a PDF or TIFF file.

    Args:
        document: the file.
        folder: where the parts are written, in a new folder.
        max_size: the most octets of a part.

    Raises:
        TooLargeError: it cannot be split, or a single page is too large; the sentence gives the sizes.
        InputError: it changed while it was read.
    """
    if document.kind not in {"pdf", "tiff"}:
        _refuse(document, max_size, "only PDF and TIFF files can be split")
    parts_folder = Path(await to_thread.run_sync(mkdtemp, None, "parts-", folder))
    try:
        found = await _split_file(document, parts_folder, max_size)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise full_error(f"There is no room to split {document.name!r}: the disk is full.", str(error)) from error
        why = error.strerror or type(error).__name__
        raise InputError(f"{document.name!r} cannot be split: {why}.", stage="data", detail=str(error)) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        _refuse(document, max_size, str(error))
    await to_thread.run_sync(document.check)
    if isinstance(found, int):
        _refuse(document, max_size, f"one of its pages has {format_size(found)}")
    return await to_thread.run_sync(_as_documents, document, found)


async def _split_file(document: Document, parts_folder: Path, max_size: int) -> list[Path] | int:
    if document.kind == "tiff":
        return await to_thread.run_sync(split_tiff, document.path, parts_folder, max_size)
    from mailslot_plugins.scan.split_pdf import PdfError, split_pdf  # noqa: PLC0415 - PDFium is large

    try:
        # In a process of its own: a broken file may crash PDFium.
        return await to_process.run_sync(split_pdf, document.path, parts_folder, max_size, cancellable=True)
    except BrokenWorkerProcess:
        raise PdfError("it is damaged") from None


def _as_documents(document: Document, paths: Sequence[Path]) -> list[Document]:
    parts = [inspect_file(path, document.name) for path in paths]
    return [replace(part, part=(number, len(parts))) for number, part in enumerate(parts, start=1)]


def _refuse(document: Document, max_size: int, why: str) -> NoReturn:
    raise TooLargeError(
        f"{document.name!r} has {format_size(document.size)}, a mail has room for {format_size(max(max_size, 0))}, "
        f"and it cannot be split: {why}. Nothing was sent.",
        detail=f"{document.size} octets, room for {max_size}",
    )
