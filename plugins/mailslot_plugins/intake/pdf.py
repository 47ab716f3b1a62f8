"""The pages of PDF files as a viewer prints them: with what was filled into their forms, and with annotations.

For the process of its own, since PDFium bears one thread only and documents come from anybody.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import pypdfium2
from pypdfium2 import raw

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from PIL import Image

POINTS: Final = 72


class UnreadablePdfError(ValueError):
    """A PDF file, or a page of it, that cannot be shown; its text says why, for a person."""


@contextmanager
def open_pdf(source: Path | bytes) -> Generator[pypdfium2.PdfDocument]:
    """Open a file so that its forms are shown too.

    Args:
        source: the file, or its octets.

    Raises:
        UnreadablePdfError: it cannot be opened; or PDFium stumbles over it while it is open.
    """
    try:
        document = pypdfium2.PdfDocument(source)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) in {raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY}:
            raise UnreadablePdfError("The PDF is encrypted and needs a password.") from error
        raise UnreadablePdfError("The PDF cannot be opened; it is damaged.") from error
    with document:
        try:
            # Without it, PDFium leaves out the fields of forms; it has to be there before the first page is.
            document.init_forms()
            yield document
        except pypdfium2.PdfiumError as error:
            raise UnreadablePdfError("A page of the PDF cannot be read; it is damaged.") from error


def render_page(page: pypdfium2.PdfPage, dots: float, *, grey: bool) -> Image.Image:
    """Return a page as it is printed, on white paper.

    Args:
        page: of a document that `open_pdf` has opened.
        dots: pixels an inch.
        grey: whether it is rendered in grey, mode ``L``; else in colours, mode ``RGB``.
    """
    # Its scale is a float by its documentation, and an int by its default.
    render = cast("Callable[..., Any]", page.render)
    # What is for the screen alone, such as a button to send the form, is not printed; notes that may be printed are.
    bitmap = render(scale=dots / POINTS, grayscale=grey, optimize_mode="print", rev_byteorder=not grey)
    return cast("Image.Image", bitmap.to_pil()).convert("L" if grey else "RGB")
