"""Makes a thumbnail of a document's first page, in the confined process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from mailslot_plugins.intake.printable import media_size, pages_of
from mailslot_plugins.intake.refusal import IntakeRefusedError

if TYPE_CHECKING:
    from mailslot_plugins.intake.limits import Limits

SIZE: Final = (360, 510)
"""The largest width and height, in pixels."""

_DPI: Final = 72


def make_thumbnail(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Write a thumbnail of the first page, as PNG in grey.

    Args:
        request: ``path``, ``kind``, and ``into``, the file to write.
        limits: the limits of the task.

    Raises:
        IntakeRefusedError: it cannot be read, or has no page.
    """
    Image.MAX_IMAGE_PIXELS = limits.pixels
    for page in pages_of(Path(request["path"]), request["kind"], media_size("iso_a4_210x297mm"), _DPI, limits):
        write_thumbnail(page, Path(request["into"]))
        return {}
    raise IntakeRefusedError("It has no page.")


def write_thumbnail(page: Image.Image, target: Path) -> None:
    """Write a thumbnail of a page."""
    thumbnail = page.convert("L")
    thumbnail.thumbnail(SIZE)
    thumbnail.save(target, format="PNG", optimize=True)
