"""Converts documents into a fax, in the confined process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from mailslot_plugins.fax.profile import FINE, STANDARD, write_tiff_fx
from mailslot_plugins.fax.render import render_pages, with_header
from mailslot_plugins.intake.kinds import HEAD_SIZE, detect_kind
from mailslot_plugins.intake.refusal import IntakeRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot_plugins.fax.profile import Resolution
    from mailslot_plugins.intake.limits import Limits


def make_fax(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Convert documents into one TIFF-FX file.

    Args:
        request: ``paths`` of the documents; ``resolution``, ``fine`` or ``standard``; ``coding``, ``MH``, ``MR`` or
            ``MMR``; ``header``, the text at the top of each page, or empty; ``into``, the file to write.
        limits: the limits of the task.

    Returns:
        ``pages``, their number, ``octets``, and ``notes``, sentences about what is missing on the pages.
    """
    Image.MAX_IMAGE_PIXELS = limits.pixels
    resolution = STANDARD if request["resolution"] == "standard" else FINE
    page_files: list[Path] = []
    notes: list[str] = []

    def pages() -> Iterator[Image.Image]:
        for path in request["paths"]:
            data = Path(path).read_bytes()
            kind = detect_kind(data[:HEAD_SIZE], name=Path(path).name)
            yield from render_pages(data, kind, resolution, limits.pages, notes)

    try:
        # Each page shows the number of pages, so all are rendered first; on disk, since there may be many.
        for number, page in enumerate(pages()):
            if number >= limits.pages:
                raise IntakeRefusedError(f"The document has more than {limits.pages} pages.")
            page_files.append(Path(f"page-{number:03}.png"))
            page.save(page_files[-1], compress_level=1)
        with Path(request["into"]).open("wb") as file:
            octets = write_tiff_fx(
                file,
                _with_headers(page_files, request["header"], resolution),
                len(page_files),
                resolution,
                request["coding"],
            )
    finally:
        for path in page_files:
            path.unlink(missing_ok=True)
    return {"pages": len(page_files), "octets": octets, "notes": list(dict.fromkeys(notes))}


def _with_headers(page_files: list[Path], header: str, resolution: Resolution) -> Iterator[Image.Image]:
    for number, path in enumerate(page_files, start=1):
        with Image.open(path) as image:
            image.load()
            page = image.convert("1")
        yield with_header(page, resolution, header, f"{number}/{len(page_files)}") if header else page
