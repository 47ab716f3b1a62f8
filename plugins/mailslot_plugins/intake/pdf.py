"""Renders pages of PDF files as a viewer prints them, with form fields and annotations.

For the confined process, because PDFium is not thread-safe and documents come from anybody.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import pypdfium2
from pypdfium2 import raw

from mailslot_plugins.intake.refusal import IntakeRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from PIL import Image

POINTS_PER_INCH: Final = 72


@contextmanager
def open_pdf(source: Path | bytes) -> Generator[pypdfium2.PdfDocument]:
    """Open a file, with its form fields.

    Args:
        source: the file, or its octets.

    Raises:
        IntakeRefusedError: it cannot be opened, or PDFium fails while it is open.
    """
    try:
        document = pypdfium2.PdfDocument(source)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) in {raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY}:
            raise IntakeRefusedError("The PDF is encrypted and needs a password.") from error
        raise IntakeRefusedError("The PDF cannot be opened; it is damaged.") from error
    with document:
        try:
            # Form fields are drawn only if this is called before the first page is loaded.
            document.init_forms()
            yield document
        except pypdfium2.PdfiumError as error:
            raise IntakeRefusedError("A page of the PDF cannot be read; it is damaged.") from error


def render_page(page: pypdfium2.PdfPage, dpi: float, *, grey: bool) -> Image.Image:
    """Render a page as it is printed, on a white background.

    Args:
        page: a page of a document from `open_pdf`.
        dpi: pixels per inch.
        grey: True for mode ``L``, False for mode ``RGB``.
    """
    # The scale is a float by its documentation, but typed as int by its default.
    render = cast("Callable[..., Any]", page.render)
    # In print mode, elements for the screen only, for example submit buttons, are left out.
    bitmap = render(scale=dpi / POINTS_PER_INCH, grayscale=grey, optimize_mode="print", rev_byteorder=not grey)
    return cast("Image.Image", bitmap.to_pil()).convert("L" if grey else "RGB")
