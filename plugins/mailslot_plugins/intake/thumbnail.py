"""A small picture of a document's first page, made in the process that may break over it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from mailslot_plugins.intake.printable import media_size, pages_of
from mailslot_plugins.intake.refused import Refused

if TYPE_CHECKING:
    from mailslot_plugins.intake.limits import Limits

SIZE: Final = (360, 510)
"""The largest width and height, in pixels."""

_DPI: Final = 72


def to_thumbnail(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Write a picture of the first page, as PNG in grey.

    Args:
        request: ``path``, ``kind``, and ``into``, the file to write.
        limits: what it may cost.

    Raises:
        Refused: it cannot be read, or has no page.
    """
    Image.MAX_IMAGE_PIXELS = limits.pixels
    for page in pages_of(Path(request["path"]), request["kind"], media_size("iso_a4_210x297mm"), _DPI, limits):
        write_thumbnail(page, Path(request["into"]))
        return {}
    raise Refused("It has no page.")


def write_thumbnail(page: Image.Image, into: Path) -> None:
    """Write a picture of a page.

    Args:
        page: the page, of any mode.
        into: the file.
    """
    small = page.convert("L")
    small.thumbnail(SIZE)
    small.save(into, format="PNG", optimize=True)
