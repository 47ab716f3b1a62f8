"""Documents read and turned into others, in the process that may break over them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from mailslot_plugins.fax.profile import FINE, STANDARD, write
from mailslot_plugins.fax.read import UnreadableFaxError
from mailslot_plugins.fax.render import pages_of, with_header
from mailslot_plugins.intake.kinds import LOOKED_AT, kind_of
from mailslot_plugins.intake.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot_plugins.fax.profile import Resolution
    from mailslot_plugins.intake.limits import Limits


def to_fax(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Make documents into one TIFF-FX file.

    Args:
        request: ``paths`` of the documents; ``resolution``, ``fine`` or ``standard``; ``coding``, ``MH``, ``MR`` or
            ``MMR``; ``header``, the text at the head of each page, or empty; ``into``, the file to write.
        limits: what it may cost.

    Returns:
        ``pages``, how many, ``octets``, and ``notes``, sentences about what is missing on the pages.
    """
    Image.MAX_IMAGE_PIXELS = limits.pixels
    resolution = STANDARD if request["resolution"] == "standard" else FINE
    kept: list[Path] = []
    notes: list[str] = []

    def pages() -> Iterator[Image.Image]:
        for path in request["paths"]:
            data = Path(path).read_bytes()
            kind = kind_of(data[:LOOKED_AT], name=Path(path).name)
            yield from pages_of(data, kind, resolution, limits.pages, notes)

    try:
        # The number of pages stands on each of them, so they are all made first; on disk, since they may be many.
        for number, page in enumerate(pages()):
            if number >= limits.pages:
                raise Refused(f"The document has more than {limits.pages} pages.")
            kept.append(Path(f"page-{number:03}.png"))
            page.save(kept[-1], compress_level=1)
        with Path(request["into"]).open("wb") as file:
            octets = write(file, _headed(kept, request["header"], resolution), len(kept), resolution, request["coding"])
    except UnreadableFaxError as error:
        raise Refused(str(error)) from None
    finally:
        for path in kept:
            path.unlink(missing_ok=True)
    return {"pages": len(kept), "octets": octets, "notes": list(dict.fromkeys(notes))}


def _headed(kept: list[Path], header: str, resolution: Resolution) -> Iterator[Image.Image]:
    for number, path in enumerate(kept, start=1):
        with Image.open(path) as image:
            image.load()
            page = image.convert("1")
        yield with_header(page, resolution, header, f"{number}/{len(kept)}") if header else page
