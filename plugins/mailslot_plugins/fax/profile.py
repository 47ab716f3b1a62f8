"""Writes TIFF-FX files of profiles S and F, tag by tag (RFC 3949 sections 3 and 4)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from mailslot_plugins.fax.coding import COMPRESSION, Coding, encode, reverse_bits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from PIL import Image

WIDTH: Final = 1728
"""Pixels across the page: the only width in profile S (RFC 3949 section 3.2)."""

_SHORT, _LONG, _RATIONAL = 3, 4, 5


@dataclass(frozen=True, slots=True)
class Resolution:
    """Pixels per inch.

    Attributes:
        x, y: across and down the page.
    """

    x: int
    y: int


STANDARD: Final = Resolution(204, 98)
FINE: Final = Resolution(204, 196)


def write_tiff_fx(
    file: BinaryIO,
    pages: Iterable[Image.Image],
    total: int,
    resolution: Resolution = FINE,
    coding: Coding = "MH",
) -> int:
    """Write pages as one TIFF-FX file: exactly profile S with MH, profile F with MR or MMR.

    A page's directory is followed by its long values and its data, and no page refers to another, so that a device can
    print while it reads.

    Args:
        file: an empty file.
        pages: images of mode ``1``, 1728 pixels wide; read one at a time.
        total: the number of pages.
        resolution: the resolution of all pages.
        coding: the coding of all pages.

    Returns:
        the number of octets written.

    Raises:
        ValueError: a page has another width or no lines, or the number of pages is not `total`.
    """
    file.write(struct.pack("<2sHI", b"II", 42, 8))
    position, number = 8, 0
    for image in pages:
        if image.width != WIDTH or not image.height or image.mode != "1" or number >= total:
            raise ValueError(f"page {number + 1} of {total} is {image.mode} {image.size}")
        octets = _encode_page(image, resolution, coding, position, number, total)
        file.write(octets)
        position += len(octets)
        number += 1
    if number != total:
        raise ValueError(f"{number} pages instead of {total}")
    return position


def _encode_page(
    image: Image.Image, resolution: Resolution, coding: Coding, position: int, number: int, total: int
) -> bytes:
    """Return a page's directory, long values and strip, padded so that the next page begins at an even offset."""
    # Profile S has the least significant bit first (RFC 3949 section 3.3); readers of profile F accept either order.
    strip = reverse_bits(encode(image, coding))
    options: tuple[int, int] = (293, 0) if coding == "MMR" else (292, 4 | (coding == "MR"))
    fields: list[tuple[int, int, int]] = [
        (254, _LONG, 2),
        (256, _LONG, image.width),
        (257, _LONG, image.height),
        (258, _SHORT, 1),
        (259, _SHORT, COMPRESSION[coding]),
        (262, _SHORT, 0),
        (266, _SHORT, 2),
        (273, _LONG, 0),
        (277, _SHORT, 1),
        (278, _LONG, image.height),
        (279, _LONG, len(strip)),
        (282, _RATIONAL, resolution.x),
        (283, _RATIONAL, resolution.y),
        (options[0], _LONG, options[1]),
        (296, _SHORT, 2),
        (297, _SHORT, number | total << 16),
    ]
    values_offset = position + 2 + 12 * len(fields) + 4
    strip_offset = values_offset + 16
    next_offset = strip_offset + len(strip) + len(strip) % 2
    directory = struct.pack("<H", len(fields))
    for tag, kind, value in fields:
        if kind == _RATIONAL:
            value = values_offset if tag == 282 else values_offset + 8  # noqa: PLW2901 - the field holds where its value is
        elif tag == 273:
            value = strip_offset  # noqa: PLW2901 - known only now
        directory += struct.pack("<HHII", tag, kind, 2 if tag == 297 else 1, value)
    directory += struct.pack("<I", next_offset if number + 1 < total else 0)
    directory += struct.pack("<4I", resolution.x, 1, resolution.y, 1)
    return directory + strip + bytes(len(strip) % 2)
