"""Documents looked through for a printer, and turned into what it takes, in the process that may break over them."""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from PIL import Image

from mailslot_plugins.intake.pdf import POINTS, UnreadablePdfError, open_pdf, render_page
from mailslot_plugins.intake.pictures import (
    FORMATS,
    DamagedPictureError,
    PictureKind,
    UnreadablePictureError,
    read_picture,
    resized,
)
from mailslot_plugins.intake.pwg import SYNC, Form, RasterType, write_page
from mailslot_plugins.intake.refused import Refused
from mailslot_plugins.intake.text_pages import text_pages
from mailslot_plugins.intake.tiff import DamagedEndError, UnreadableTiffError, tiff_pages

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import pypdfium2

    from mailslot_plugins.intake.limits import Limits

MAX_POINTS: Final = 14_400
"""The longest side of a PDF's page (ISO 32000-1 annex C)."""

_MEDIA: Final = re.compile(r"[a-z0-9_.-]+_([0-9.]+)x([0-9.]+)(mm|in)")
_A4: Final = (210 / 25.4, 297 / 25.4)


def count_pages(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Look through the document ``path`` of a ``kind``.

    Returns:
        ``pages``, how many it has; its ``pixels``; and ``notes``, sentences about what will be missing on paper.
    """
    Image.MAX_IMAGE_PIXELS = limits.pixels
    path, kind = Path(request["path"]), request["kind"]
    notes: list[str] = []
    pages, pixels = 1, 0
    if kind == "pdf":
        with _pdf(path, limits) as document:
            pages = len(document)
    elif kind == "tiff" or kind in FORMATS:
        sizes = [image.size for image in _images(path, kind, limits, notes)]
        pages, pixels = len(sizes), sum(width * height for width, height in sizes)
    elif kind in {"text", "html"}:
        pages = sum(1 for _ in _bounded(_sheets(path, kind, _A4, 72, limits, notes), limits))
    # What only the printer understands counts as one.
    return {"pages": pages, "pixels": pixels, "notes": notes}


def make_printable(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Turn a document into what a printer takes.

    Args:
        request: ``path`` and ``kind`` of the document; ``into``, a media type; ``as_is``, whether it stays as it is;
            ``name`` and ``suffix`` of the files to write; ``dpi``; ``color``; ``raster_types``; ``media``, the paper;
            ``duplex``, the sides to print on; ``back``, how the printer wants the back of a sheet.
        limits: what it may cost.

    Returns:
        ``files``, their names, none where it stays as it is, and ``pages``.
    """
    Image.MAX_IMAGE_PIXELS = limits.pixels
    if request["as_is"]:
        looked = count_pages(request, limits)
        return {"files": _mended(request, limits, damaged=bool(looked["notes"])), "pages": looked["pages"]}
    path, kind, dpi = Path(request["path"]), request["kind"], int(request["dpi"])
    size = media_size(request["media"])
    write = _WRITERS[request["into"]]
    return write(pages_of(path, kind, size, dpi, limits), request, size)


def pages_of(path: Path, kind: str, size: tuple[float, float], dpi: int, limits: Limits) -> Iterator[Image.Image]:
    """Return a document's pages; those of an image are its own pixels.

    Args:
        path: the document.
        kind: what it is.
        size: of the paper, in inches.
        dpi: pixels an inch, for what has none of its own.
        limits: what it may cost.

    Raises:
        Refused: it cannot be read, or has too many pages.
    """
    if kind == "tiff" or kind in FORMATS:
        return _images(path, kind, limits, [])
    return _bounded(_sheets(path, kind, size, dpi, limits, []), limits)


def _mended(request: dict[str, Any], limits: Limits, *, damaged: bool) -> list[str]:
    """Write a document anew that a printer would stumble over.

    A printer might take what stands before a PDF's header for text, or for commands, and might print nothing at all of
    a picture that is cut off.

    Returns:
        the file; none where the document stays as it is.
    """
    path, kind = Path(request["path"]), request["kind"]
    name = f"{request['name']}.{request['suffix']}"
    if kind == "pdf":
        with path.open("rb") as file:
            if file.read(5) == b"%PDF-":
                return []
        with _pdf(path, limits) as document:
            document.save(name)
        return [name]
    if not damaged or kind not in FORMATS:
        return []
    for image in _images(path, kind, limits, []):
        dots = {"dpi": image.info["dpi"]} if image.info.get("dpi") else {}
        image.save(name, FORMATS[cast("PictureKind", kind)], quality=92, **dots)
    return [name]


def media_size(name: str) -> tuple[float, float]:
    """Return the size of paper by its name in PWG 5101.1, in inches; that of A4 where the name is of no such form."""
    found = _MEDIA.fullmatch(name)
    try:
        size = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    except ValueError:
        size = (0.0, 0.0)
    unit = 25.4 if found and found[3] == "mm" else 1.0
    wide, high = size[0] / unit, size[1] / unit
    return (wide, high) if 1 <= wide <= 40 and 1 <= high <= 40 else _A4


def _bounded(pages: Iterator[Image.Image], limits: Limits) -> Iterator[Image.Image]:
    for number, page in enumerate(pages):
        if number >= limits.pages:
            raise Refused(f"The document has more than {limits.pages} pages.")
        yield page


def _sheets(
    path: Path, kind: str, size: tuple[float, float], dpi: int, limits: Limits, notes: list[str]
) -> Iterator[Image.Image]:
    """Return the pages of a document that has no pixels of its own."""
    if kind == "pdf":
        pages = _pdf_pages(path, size, dpi, limits)
    elif kind in {"text", "html"}:
        pages = text_pages(_text(path, kind), (round(size[0] * dpi), round(size[1] * dpi)), dpi, notes)
    else:
        raise Refused("Documents of this kind cannot be converted for the printer.")
    for page in pages:
        page.info["dpi"] = (dpi, dpi)
        yield page


@contextmanager
def _pdf(path: Path, limits: Limits) -> Generator[pypdfium2.PdfDocument]:
    try:
        with open_pdf(path) as document:
            if not len(document):
                raise Refused("The PDF has no pages.")
            if len(document) > limits.pages:
                raise Refused(f"The document has {len(document):,} pages, more than {limits.pages}.")
            for number in range(len(document)):
                wide, high = cast("tuple[float, float]", document.get_page_size(number))
                if not (1 <= wide <= MAX_POINTS and 1 <= high <= MAX_POINTS):
                    raise Refused(f"Page {number + 1} of the PDF has no size that can be printed.")
            yield document
    except UnreadablePdfError as error:
        raise Refused(str(error)) from error


def _pdf_pages(path: Path, size: tuple[float, float], dpi: int, limits: Limits) -> Iterator[Image.Image]:
    with _pdf(path, limits) as document:
        for number in range(len(document)):
            page = document[number]
            wide, high = page.get_width() / POINTS, page.get_height() / POINTS
            room = size if (wide <= high) == (size[0] <= size[1]) else (size[1], size[0])
            # Only what is larger than the paper is made smaller.
            shrink = min(1.0, room[0] / wide, room[1] / high)
            image = render_page(page, dpi * shrink, grey=False)
            page.close()
            yield image


def _images(path: Path, kind: str, limits: Limits, notes: list[str]) -> Iterator[Image.Image]:
    """Return the pictures in an image's file, upright, on white paper, with pixels that are square.

    Raises:
        Refused: it cannot be read, or is too large.
    """
    try:
        if kind != "tiff":
            yield read_picture(path, cast("PictureKind", kind), most=limits.pixels)
            return
        for number, page in enumerate(tiff_pages(path.read_bytes(), "RGB", limits.pixels, "document")):
            if number >= limits.pages:
                raise Refused(f"The document has more than {limits.pages} pages.")
            image = page.image
            if not 0.99 < page.x / page.y < 1.01:
                # Pixels of a coarse fax are twice as high as they are wide.
                grey = image.convert("L") if image.mode == "1" else image
                image = grey.resize((image.width, max(1, round(image.height * page.x / page.y))))
            image.info["dpi"] = (page.x, page.x)
            yield image
    except DamagedPictureError as error:
        notes.append(str(error))
        yield error.image
    except DamagedEndError as error:
        notes.append(str(error))
    except (UnreadableTiffError, UnreadablePictureError) as error:
        raise Refused(str(error)) from error


def _text(path: Path, kind: str) -> str:
    octets = path.read_bytes()
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    if kind == "html":
        from mailslot_plugins.intake.html_text import text_of_html  # noqa: PLC0415 - few documents are HTML

        return text_of_html(text)
    return text


def _shown(image: Image.Image, request: dict[str, Any]) -> Image.Image:
    return image if request["color"] or image.mode == "1" else image.convert("L")


def _dots(image: Image.Image) -> float:
    """Return the pixels an inch of a page; 0.0 where nobody knows."""
    own = image.info.get("dpi")
    return float(own[0]) if own and float(own[0]) >= 50 else 0.0


def _placed(image: Image.Image, size: tuple[int, int], dpi: int) -> Image.Image:
    """Return an image in the middle of a sheet: turned, and made smaller where it must be.

    A picture without a size of its own is as large as the sheet.
    """
    dots = _dots(image)
    if (image.width > image.height) != (size[0] > size[1]) and image.width != image.height:
        image = image.transpose(Image.Transpose.ROTATE_90)
    scale = min(dpi / dots if dots else math.inf, size[0] / image.width, size[1] / image.height)
    fitted = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if fitted != image.size:
        image = resized(image, fitted)
    sheet = Image.new("RGB" if image.mode == "RGB" else "L", size, "white")
    sheet.paste(image, ((size[0] - fitted[0]) // 2, (size[1] - fitted[1]) // 2))
    return sheet


def _as_pwg(pages: Iterator[Image.Image], request: dict[str, Any], size: tuple[float, float]) -> dict[str, Any]:
    dpi = int(request["dpi"])
    kinds: list[RasterType] = request["raster_types"]
    best: list[RasterType] = ["srgb_8", "sgray_8", "black_1"] if request["color"] else ["sgray_8", "black_1", "srgb_8"]
    raster_type: RasterType = min([kind for kind in kinds if best.count(kind)] or best[:1], key=best.index)
    sides = request["duplex"]
    form = Form(
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
        file.write(SYNC)
        for number, page in enumerate(pages, start=1):
            write_page(file, _placed(page, (round(size[0] * dpi), round(size[1] * dpi)), dpi), form, number - 1)
    return {"files": [name], "pages": number}


def _as_jpeg(pages: Iterator[Image.Image], request: dict[str, Any], _size: tuple[float, float]) -> dict[str, Any]:
    files: list[str] = []
    for number, page in enumerate(pages):
        name = f"{request['name']}-{number + 1:03}.{request['suffix']}"
        shown = _shown(page, request)
        # Without a size, it is as large as the printer likes.
        dots = round(_dots(page))
        (shown.convert("L") if shown.mode == "1" else shown).save(name, "JPEG", quality=92, dpi=(dots, dots))
        files.append(name)
    return {"files": files, "pages": len(files)}


def _as_pdf(pages: Iterator[Image.Image], request: dict[str, Any], size: tuple[float, float]) -> dict[str, Any]:
    name = f"{request['name']}.{request['suffix']}"
    number = 0
    for number, page in enumerate(pages, start=1):
        shown = _shown(page, request)
        # A picture without a size of its own, or larger than the paper, is as large as the paper.
        least = max(min(shown.size) / min(size), max(shown.size) / max(size))
        quality = {} if shown.mode == "1" else {"quality": 92}
        shown.save(name, "PDF", resolution=max(_dots(page), least), append=number > 1, **quality)
    return {"files": [name], "pages": number}


_WRITERS: Final = {"image/pwg-raster": _as_pwg, "image/jpeg": _as_jpeg, "application/pdf": _as_pdf}
