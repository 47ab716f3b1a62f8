"""A PDF file in parts of whole pages; meant for a process of its own, since PDFium takes one thread at a time."""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

import pypdfium2
from pypdfium2 import raw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class PdfError(ValueError):
    """A PDF file whose pages cannot be taken apart; its text says why, for a person."""


def split_pdf(path: Path, folder: Path, room: int) -> list[Path] | int:
    """Write the pages of a file into files that are small enough, in their order.

    What was filled into a form stays on its page, as print and no more as fields: fields belong to the whole document.
    What pages share, such as fonts, is in each part again, so nobody knows a part's size before it is written: the
    file is cut into even parts, and those that are too large are halved.

    Args:
        path: the file.
        folder: where the parts go.
        room: the most octets of a part.

    Returns:
        the parts; or the octets of the first page that alone is too large.

    Raises:
        PdfError: its pages cannot be taken apart.
        OSError: it cannot be read, or a part cannot be written.
    """
    size = path.stat().st_size
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise PdfError(_why_unreadable(error)) from error
    try:
        # The fields of forms are drawn by what this sets up, which has to be there before the first page is.
        document.init_forms()
        return _split(document, size, folder, room)
    except pypdfium2.PdfiumError as error:
        raise PdfError("it is damaged") from error
    finally:
        document.close()


def _split(document: pypdfium2.PdfDocument, size: int, folder: Path, room: int) -> list[Path] | int:
    if raw.FPDF_GetSecurityHandlerRevision(document.raw) != -1:
        raise PdfError("it is encrypted")
    if raw.FPDF_GetSignatureCount(document.raw) > 0:
        raise PdfError("it is signed, and its parts would not be")
    count = len(document)
    if not count:
        raise PdfError("it has no pages")
    if count == 1:
        raise PdfError("it has one page only")
    if document.formenv is not None:
        for number in range(count):
            page = document[number]
            page.flatten(raw.FLAT_PRINT)
            page.close()
    parts = min(count, max(2, ceil(size / room)))
    bounds = [count * number // parts for number in range(parts + 1)]
    waiting = [range(start, end) for start, end in pairwise(bounds)]
    written: list[Path] = []
    while waiting:
        pages = waiting.pop(0)
        part = folder / f"{pages.start + 1:06}.pdf"
        _write(document, pages, part)
        octets = part.stat().st_size
        if octets <= room:
            written.append(part)
        elif len(pages) == 1:
            return octets
        else:
            half = len(pages) // 2
            waiting[:0] = [pages[:half], pages[half:]]
    return written


def _write(document: pypdfium2.PdfDocument, pages: Sequence[int], part: Path) -> None:
    target = pypdfium2.PdfDocument.new()
    try:
        target.import_pages(document, list(pages))
        target.save(part)
    finally:
        target.close()


def _why_unreadable(error: pypdfium2.PdfiumError) -> str:
    if getattr(error, "err_code", None) in {raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY}:
        return "it is protected by a password"
    return "it is damaged"
