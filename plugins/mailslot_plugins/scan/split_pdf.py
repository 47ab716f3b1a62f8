"""Splits a PDF file by pages; meant for a process of its own, because PDFium is not thread-safe."""

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
    """A PDF file cannot be split; the text says why, for a person."""


def split_pdf(path: Path, folder: Path, max_size: int) -> list[Path] | int:
    """Write the pages of a file into files that are small enough, in order.

    The content of form fields becomes part of the page, because fields belong to the whole document. Fonts and other
    shared objects are repeated in each part, so that a part's size is known only once it is written: the file is split
    evenly, and parts that are too large are halved.

    Args:
        path: the file.
        folder: where the parts are written.
        max_size: the most octets of a part.

    Returns:
        the parts; or the size in octets of the first single page that is too large.

    Raises:
        PdfError: it cannot be split.
        OSError: it cannot be read, or a part cannot be written.
    """
    size = path.stat().st_size
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise PdfError(_why_unreadable(error)) from error
    try:
        # Form fields are drawn only if this is called before the first page is loaded.
        document.init_forms()
        return _split(document, size, folder, max_size)
    except pypdfium2.PdfiumError as error:
        raise PdfError("it is damaged") from error
    finally:
        document.close()


def _split(document: pypdfium2.PdfDocument, size: int, folder: Path, max_size: int) -> list[Path] | int:
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
    parts = min(count, max(2, ceil(size / max_size)))
    bounds = [count * number // parts for number in range(parts + 1)]
    pending = [range(start, end) for start, end in pairwise(bounds)]
    written: list[Path] = []
    while pending:
        pages = pending.pop(0)
        part = folder / f"{pages.start + 1:06}.pdf"
        _write(document, pages, part)
        octets = part.stat().st_size
        if octets <= max_size:
            written.append(part)
        elif len(pages) == 1:
            return octets
        else:
            half = len(pages) // 2
            pending[:0] = [pages[:half], pages[half:]]
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
