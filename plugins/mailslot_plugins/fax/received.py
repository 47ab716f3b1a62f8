"""What came in, made into pages of one file, in the process that may break over it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from mailslot_plugins.fax.profile import FINE
from mailslot_plugins.fax.read import DamagedFaxError, UnreadableFaxError, read_pages
from mailslot_plugins.fax.render import DPI, SHEET, pages_of
from mailslot_plugins.intake.refused import Refused
from mailslot_plugins.intake.text_pages import text_pages
from mailslot_plugins.intake.thumbnail import write_thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot_plugins.intake.kinds import Kind
    from mailslot_plugins.intake.limits import Limits

Sheet = tuple[Image.Image, float, float]
"""A page of mode ``1``, and its pixels an inch across and down."""


def to_pages(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Write the pages of texts and documents as ``NAME.tif``, in MMR, and as ``NAME.pdf`` with the same pixels.

    Beside them goes ``NAME.png``, a small picture of the first page.

    Args:
        request: ``texts``, which come first; ``documents``, each with ``path``, ``kind`` and ``name``; ``name``, of
            the files to write.
        limits: what it may cost.

    Returns:
        ``pages``, how many, and ``notes``, sentences about what is missing on them.

    Raises:
        Refused: one of the documents cannot be read; then nothing counts (RFC 3965 section 2.2.4).
    """
    Image.MAX_IMAGE_PIXELS = limits.pixels
    tiff, pdf = Path(f"{request['name']}.tif"), Path(f"{request['name']}.pdf")
    number = 0
    notes: list[str] = []
    with AppendingTiffWriter(str(tiff), new=True) as file:
        for number, (image, x, y) in enumerate(_sheets(request, limits, notes), start=1):
            if number > limits.pages:
                raise Refused(f"It has more than {limits.pages} pages.")
            image.save(file, format="TIFF", compression="group4", dpi=(x, y))
            file.newFrame()
            image.save(pdf, format="PDF", append=number > 1, dpi=(x, y))
            if number == 1:
                # Pixels of a coarse fax are twice as high as they are wide.
                upright = image.convert("L").resize((image.width, round(image.height * x / y)))
                write_thumbnail(upright, Path(f"{request['name']}.png"))
    if not number:
        raise Refused("There is nothing in it to be printed.")
    return {"pages": number, "notes": list(dict.fromkeys(notes))}


def _sheets(request: dict[str, Any], limits: Limits, notes: list[str]) -> Iterator[Sheet]:
    for text in request["texts"]:
        for page in text_pages(text, SHEET, DPI, notes):
            yield page, DPI, DPI
    for document in request["documents"]:
        try:
            yield from _document(Path(document["path"]).read_bytes(), document["kind"], limits, notes)
        except DamagedFaxError as error:
            # What came before is there, and whether anything was to follow, nobody knows.
            notes.append(f"{document['name']!r}: {error}")
        except UnreadableFaxError as error:
            raise Refused(f"{document['name']!r} cannot be printed. {error}") from None


def _document(data: bytes, kind: Kind, limits: Limits, notes: list[str]) -> Iterator[Sheet]:
    if kind == "tiff":
        for page in read_pages(data):
            yield page.image, page.x, page.y
    else:
        for image in pages_of(data, kind, FINE, limits.pages, notes):
            yield image, FINE.x, FINE.y
