"""Reads the pages of a received fax: profiles S and F in full, plain TIFF files in black and white.

Other profiles are refused by name. Meant for a process of its own, because faxes come from anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot_plugins.fax.halftone import to_black_and_white
from mailslot_plugins.intake.tiff import DamagedEndError, UnreadableTiffError, tiff_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image


class UnreadableFaxError(ValueError):
    """A fax cannot be read; the text says why, for a person."""


class DamagedFaxError(UnreadableFaxError):
    """A fax is damaged behind the pages that were returned."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a fax, upright.

    Attributes:
        image: mode ``1``, 255 is white.
        x, y: pixels per inch, across and down.
        is_facsimile: whether it was in a facsimile coding; otherwise it was another TIFF image.
    """

    image: Image.Image
    x: float
    y: float
    is_facsimile: bool = True


def read_pages(data: bytes) -> Iterator[Page]:
    """Return the pages of a TIFF file, one at a time.

    Args:
        data: the whole file.

    Raises:
        UnreadableFaxError: the file or one of its pages cannot be read.
        DamagedFaxError: the file is damaged behind the pages that were returned.
    """
    try:
        for page in tiff_pages(data, "L"):
            yield Page(to_black_and_white(page.image), page.x, page.y, page.is_facsimile)
    except DamagedEndError as error:
        raise DamagedFaxError(str(error)) from error
    except UnreadableTiffError as error:
        raise UnreadableFaxError(str(error)) from error
