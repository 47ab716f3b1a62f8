"""The pages of a fax that came in: profiles S and F in full, the others named, plain TIFF files in black and white.

Meant for a process of its own: what is read here comes from anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot_plugins.fax.halftone import black_and_white
from mailslot_plugins.intake.tiff import DamagedEndError, UnreadableTiffError, tiff_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image


class UnreadableFaxError(ValueError):
    """A fax that cannot be shown; its text says why, for a person."""


class DamagedFaxError(UnreadableFaxError):
    """A fax that is damaged behind the pages that are given."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a fax, upright.

    Attributes:
        image: mode ``1``, 255 is white.
        x, y: pixels an inch across and down.
        facsimile: whether it came in a coding of facsimile; else it is some other TIFF image.
    """

    image: Image.Image
    x: float
    y: float
    facsimile: bool = True


def read_pages(data: bytes) -> Iterator[Page]:
    """Return the pages of a TIFF file, one after the other.

    Args:
        data: the whole file.

    Raises:
        UnreadableFaxError: it cannot be read, or a page of it.
        DamagedFaxError: all its pages are given, and what follows them is damaged.
    """
    try:
        for page in tiff_pages(data, "L"):
            yield Page(black_and_white(page.image), page.x, page.y, page.facsimile)
    except DamagedEndError as error:
        raise DamagedFaxError(str(error)) from error
    except UnreadableTiffError as error:
        raise UnreadableFaxError(str(error)) from error
