"""Checks documents for a printer and converts them to formats that it accepts, in the confined process."""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from PIL import Image

from mailslot_plugins.intake.pdf import POINTS_PER_INCH, open_pdf, render_page
from mailslot_plugins.intake.pictures import (
    FORMATS,
    DamagedPictureError,
    PictureKind,
    read_picture,
    resize,
)
from mailslot_plugins.intake.pwg import SYNC_WORD, PageFormat, RasterType, write_page
from mailslot_plugins.intake.refusal import DamagedDocumentError, IntakeRefusedError
from mailslot_plugins.intake.text_pages import decode_text, text_pages
from mailslot_plugins.intake.tiff import tiff_pages

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import pypdfium2

    from mailslot_plugins.intake.limits import Limits

MAX_POINTS: Final = 14_400
"""The longest side of a PDF page (ISO 32000-1 annex C)."""

_MEDIA: Final = re.compile(r"[a-z0-9_.-]+_([0-9.]+)x([0-9.]+)(mm|in)")
_A4: Final = (210 / 25.4, 297 / 25.4)


def count_pages(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Count the pages of the document ``path`` of a ``kind``.

    Returns:
        ``pages``, their number; ``pixels`` of its images; and ``notes``, sentences about what will be missing on paper.
    """
    Image.MAX_IMAGE_PIXELS = limits.pixels
    path, kind = Path(request["path"]), request["kind"]
    notes: list[str] = []
    pages, pixels = 1, 0
    if kind == "pdf":
        with _open_checked_pdf(path, limits) as document:
            pages = len(document)
    elif kind == "tiff" or kind in FORMATS:
        sizes = [image.size for image in _read_images(path, kind, limits, notes)]
        pages, pixels = len(sizes), sum(width * height for width, height in sizes)
    elif kind in {"text", "html"}:
        pages = sum(1 for _ in _limit_pages(_render_pages(path, kind, _A4, 72, limits, notes), limits))
    # A document in a printer language counts as one page.
    return {"pages": pages, "pixels": pixels, "notes": notes}


def make_printable(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Convert a document to a format that a printer accepts.

    Args:
        request: ``path`` and ``kind`` of the document; ``into``, a media type; ``as_is``, whether it stays as it is;
            ``name`` and ``suffix`` of the files to write; ``dpi``; ``color``; ``raster_types``; ``media``, the paper;
            ``duplex``, the sides to print on; ``back``, how the printer expects the back of a sheet.
        limits: the limits of the task.

    Returns:
        ``files``, their names, none if the document is unchanged, and ``pages``, their number.
    """
    Image.MAX_IMAGE_PIXELS = limits.pixels
    if request["as_is"]:
        counted = count_pages(request, limits)
        return {"files": _repair(request, limits, damaged=bool(counted["notes"])), "pages": counted["pages"]}
    path, kind, dpi = Path(request["path"]), request["kind"], int(request["dpi"])
    size = media_size(request["media"])
    write = _WRITERS[request["into"]]
    return write(pages_of(path, kind, size, dpi, limits), request, size)


def pages_of(path: Path, kind: str, size: tuple[float, float], dpi: int, limits: Limits) -> Iterator[Image.Image]:
    """Render a document's pages; images keep their own pixels.

    Args:
        path: the document.
        kind: its kind.
        size: the size of the paper, in inches.
        dpi: pixels per inch, for documents other than images.
        limits: the limits of the task.

    Raises:
        IntakeRefusedError: it cannot be read, or has too many pages.
    """
    if kind == "tiff" or kind in FORMATS:
        return _read_images(path, kind, limits, [])
    return _limit_pages(_render_pages(path, kind, size, dpi, limits, []), limits)


def _repair(request: dict[str, Any], limits: Limits, *, damaged: bool) -> list[str]:
    """Rewrite a document that could confuse a printer.

    A printer might take data before a PDF's header for text or commands, and might not print a truncated picture at
    all.

    Returns:
        the new file; none if the document is unchanged.
    """
    path, kind = Path(request["path"]), request["kind"]
    name = f"{request['name']}.{request['suffix']}"
    if kind == "pdf":
        with path.open("rb") as file:
            if file.read(5) == b"%PDF-":
                return []
        with _open_checked_pdf(path, limits) as document:
            document.save(name)
        return [name]
    if not damaged or kind not in FORMATS:
        return []
    for image in _read_images(path, kind, limits, []):
        page_dpi = {"dpi": image.info["dpi"]} if image.info.get("dpi") else {}
        image.save(name, FORMATS[cast("PictureKind", kind)], quality=92, **page_dpi)
    return [name]


def media_size(name: str) -> tuple[float, float]:
    """Return the size in inches of a paper by its PWG 5101.1 name; A4 if the name has another form."""
    found = _MEDIA.fullmatch(name)
    try:
        size = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    except ValueError:
        size = (0.0, 0.0)
    unit = 25.4 if found and found[3] == "mm" else 1.0
    width, height = size[0] / unit, size[1] / unit
    return (width, height) if 1 <= width <= 40 and 1 <= height <= 40 else _A4


def _limit_pages(pages: Iterator[Image.Image], limits: Limits) -> Iterator[Image.Image]:
    for number, page in enumerate(pages):
        if number >= limits.pages:
            raise IntakeRefusedError(f"The document has more than {limits.pages} pages.")
        yield page


def _render_pages(
    path: Path, kind: str, size: tuple[float, float], dpi: int, limits: Limits, notes: list[str]
) -> Iterator[Image.Image]:
    """Render the pages of a PDF, text or HTML document."""
    if kind == "pdf":
        pages = _pdf_pages(path, size, dpi, limits)
    elif kind in {"text", "html"}:
        pages = text_pages(_text(path, kind), (round(size[0] * dpi), round(size[1] * dpi)), dpi, notes)
    else:
        raise IntakeRefusedError("Documents of this kind cannot be converted for the printer.")
    for page in pages:
        page.info["dpi"] = (dpi, dpi)
        yield page


@contextmanager
def _open_checked_pdf(path: Path, limits: Limits) -> Generator[pypdfium2.PdfDocument]:
    with open_pdf(path) as document:
        if not len(document):
            raise IntakeRefusedError("The PDF has no pages.")
        if len(document) > limits.pages:
            raise IntakeRefusedError(f"The document has {len(document):,} pages, more than {limits.pages}.")
        for number in range(len(document)):
            width, height = cast("tuple[float, float]", document.get_page_size(number))
            if not (1 <= width <= MAX_POINTS and 1 <= height <= MAX_POINTS):
                raise IntakeRefusedError(f"Page {number + 1} of the PDF has no size that can be printed.")
        yield document


def _pdf_pages(path: Path, size: tuple[float, float], dpi: int, limits: Limits) -> Iterator[Image.Image]:
    with _open_checked_pdf(path, limits) as document:
        for number in range(len(document)):
            page = document[number]
            width, height = page.get_width() / POINTS_PER_INCH, page.get_height() / POINTS_PER_INCH
            paper = size if (width <= height) == (size[0] <= size[1]) else (size[1], size[0])
            # Pages larger than the paper are scaled down; smaller ones are not enlarged.
            shrink = min(1.0, paper[0] / width, paper[1] / height)
            image = render_page(page, dpi * shrink, grey=False)
            page.close()
            yield image


def _read_images(path: Path, kind: str, limits: Limits, notes: list[str]) -> Iterator[Image.Image]:
    """Return the images in a file, upright, on a white background, with square pixels.

    Raises:
        IntakeRefusedError: it cannot be read, or is too large.
    """
    try:
        if kind != "tiff":
            yield read_picture(path, cast("PictureKind", kind), max_pixels=limits.pixels)
            return
        for number, page in enumerate(tiff_pages(path.read_bytes(), "RGB", limits.pixels, "document")):
            if number >= limits.pages:
                raise IntakeRefusedError(f"The document has more than {limits.pages} pages.")
            image = page.image
            if not 0.99 < page.x / page.y < 1.01:
                # Pixels of a standard resolution fax are twice as high as wide.
                grey = image.convert("L") if image.mode == "1" else image
                image = grey.resize((image.width, max(1, round(image.height * page.x / page.y))))
            image.info["dpi"] = (page.x, page.x)
            yield image
    except DamagedPictureError as error:
        notes.append(str(error))
        yield error.image
    except DamagedDocumentError as error:
        notes.append(str(error))


def _text(path: Path, kind: str) -> str:
    text = decode_text(path.read_bytes())
    if kind == "html":
        from mailslot_plugins.intake.html_text import html_to_text  # noqa: PLC0415 - few documents are HTML

        return html_to_text(text)
    return text


def _in_color_mode(image: Image.Image, request: dict[str, Any]) -> Image.Image:
    return image if request["color"] or image.mode == "1" else image.convert("L")


def _dpi_of(image: Image.Image) -> float:
    """Return the pixels per inch of a page; 0.0 if unknown."""
    image_dpi = image.info.get("dpi")
    return float(image_dpi[0]) if image_dpi and float(image_dpi[0]) >= 50 else 0.0


def _center_on_sheet(image: Image.Image, size: tuple[int, int], dpi: int) -> Image.Image:
    """Return an image centred on a sheet, rotated and scaled down if necessary.

    A picture without a known resolution fills the sheet.
    """
    page_dpi = _dpi_of(image)
    if (image.width > image.height) != (size[0] > size[1]) and image.width != image.height:
        image = image.transpose(Image.Transpose.ROTATE_90)
    scale = min(dpi / page_dpi if page_dpi else math.inf, size[0] / image.width, size[1] / image.height)
    fitted_size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if fitted_size != image.size:
        image = resize(image, fitted_size)
    sheet = Image.new("RGB" if image.mode == "RGB" else "L", size, "white")
    sheet.paste(image, ((size[0] - fitted_size[0]) // 2, (size[1] - fitted_size[1]) // 2))
    return sheet


def _write_pwg(pages: Iterator[Image.Image], request: dict[str, Any], size: tuple[float, float]) -> dict[str, Any]:
    dpi = int(request["dpi"])
    offered: list[RasterType] = request["raster_types"]
    preferred: list[RasterType] = (
        ["srgb_8", "sgray_8", "black_1"] if request["color"] else ["sgray_8", "black_1", "srgb_8"]
    )
    raster_type: RasterType = min(
        [kind for kind in offered if preferred.count(kind)] or preferred[:1], key=preferred.index
    )
    sides = request["duplex"]
    page_format = PageFormat(
        raster_type,
        dpi,
        0,
        request["media"],
        duplex=sides != "one-sided",
        tumble=sides == "two-sided-short-edge",
        back=request.get("back", "normal"),
    )
    name = f"{request['name']}.{request['suffix']}"
    number = 0
    with Path(name).open("wb") as file:
        file.write(SYNC_WORD)
        for number, page in enumerate(pages, start=1):
            write_page(
                file, _center_on_sheet(page, (round(size[0] * dpi), round(size[1] * dpi)), dpi), page_format, number - 1
            )
    return {"files": [name], "pages": number}


def _write_jpeg(pages: Iterator[Image.Image], request: dict[str, Any], _size: tuple[float, float]) -> dict[str, Any]:
    files: list[str] = []
    for number, page in enumerate(pages):
        name = f"{request['name']}-{number + 1:03}.{request['suffix']}"
        converted = _in_color_mode(page, request)
        # Without a resolution, the printer chooses the size.
        page_dpi = round(_dpi_of(page))
        (converted.convert("L") if converted.mode == "1" else converted).save(
            name, "JPEG", quality=92, dpi=(page_dpi, page_dpi)
        )
        files.append(name)
    return {"files": files, "pages": len(files)}


def _write_pdf(pages: Iterator[Image.Image], request: dict[str, Any], size: tuple[float, float]) -> dict[str, Any]:
    name = f"{request['name']}.{request['suffix']}"
    number = 0
    for number, page in enumerate(pages, start=1):
        converted = _in_color_mode(page, request)
        # A picture without a known resolution, or larger than the paper, is scaled to the paper.
        min_dpi = max(min(converted.size) / min(size), max(converted.size) / max(size))
        quality = {} if converted.mode == "1" else {"quality": 92}
        converted.save(name, "PDF", resolution=max(_dpi_of(page), min_dpi), append=number > 1, **quality)
    return {"files": [name], "pages": number}


_WRITERS: Final = {"image/pwg-raster": _write_pwg, "image/jpeg": _write_jpeg, "application/pdf": _write_pdf}
