"""Converts received texts and documents into the pages of one file, in a process of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from mailslot_plugins.fax.halftone import to_black_and_white
from mailslot_plugins.fax.profile import FINE
from mailslot_plugins.fax.render import A4_PIXELS, DPI, render_pages
from mailslot_plugins.intake.refusal import DamagedDocumentError, IntakeRefusedError
from mailslot_plugins.intake.text_pages import text_pages
from mailslot_plugins.intake.thumbnail import write_thumbnail
from mailslot_plugins.intake.tiff import TiffPage, tiff_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot_plugins.intake.kinds import Kind
    from mailslot_plugins.intake.limits import Limits

PageImage = tuple[Image.Image, float, float]
"""A page of mode ``1``, and its pixels per inch, across and down."""


def make_received_pages(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Write the pages of texts and documents as ``NAME.tif``, in MMR, and as ``NAME.pdf`` with the same pixels.

    A thumbnail of the first page is written as ``NAME.png``.

    Args:
        request: ``texts``, which come first; ``documents``, each with ``path``, ``kind`` and ``name``; ``name``, the
            name of the files to write.
        limits: the limits of the task.

    Returns:
        ``pages``, their number, and ``notes``, sentences about what is missing on them.

    Raises:
        IntakeRefusedError: a document cannot be read; then no page counts (RFC 3965 section 2.2.4).
    """
    Image.MAX_IMAGE_PIXELS = limits.pixels
    tiff, pdf = Path(f"{request['name']}.tif"), Path(f"{request['name']}.pdf")
    number = 0
    notes: list[str] = []
    with AppendingTiffWriter(str(tiff), new=True) as file:
        for number, (image, x, y) in enumerate(_render_all(request, limits, notes), start=1):
            if number > limits.pages:
                raise IntakeRefusedError(f"It has more than {limits.pages} pages.")
            image.save(file, format="TIFF", compression="group4", dpi=(x, y))
            file.newFrame()
            image.save(pdf, format="PDF", append=number > 1, dpi=(x, y))
            if number == 1:
                # Pixels of a standard resolution fax are twice as high as wide.
                upright = image.convert("L").resize((image.width, round(image.height * x / y)))
                write_thumbnail(upright, Path(f"{request['name']}.png"))
    if not number:
        raise IntakeRefusedError("It contains nothing to print.")
    return {"pages": number, "notes": list(dict.fromkeys(notes))}


def _render_all(request: dict[str, Any], limits: Limits, notes: list[str]) -> Iterator[PageImage]:
    for text in request["texts"]:
        for page in text_pages(text, A4_PIXELS, DPI, notes):
            yield page, DPI, DPI
    for document in request["documents"]:
        try:
            yield from _render_document(Path(document["path"]).read_bytes(), document["kind"], limits, notes)
        except DamagedDocumentError as error:
            # The pages before the damage are there; whether more were to follow is unknown.
            notes.append(f"{document['name']!r}: {error}")
        except IntakeRefusedError as error:
            raise IntakeRefusedError(f"{document['name']!r} cannot be printed. {error}") from None


def _render_document(data: bytes, kind: Kind, limits: Limits, notes: list[str]) -> Iterator[PageImage]:
    if kind == "tiff":
        for page in read_pages(data):
            yield page.image, page.x, page.y
    else:
        for image in render_pages(data, kind, FINE, limits.pages, notes):
            yield image, FINE.x, FINE.y


def read_pages(data: bytes) -> Iterator[TiffPage]:
    """Return the pages of a received fax in black and white, one at a time; errors are those of `tiff_pages`."""
    for page in tiff_pages(data, "L"):
        yield replace(page, image=to_black_and_white(page.image))
