"""Writes pages as PWG raster (PWG 5102.4), which every IPP Everywhere printer accepts."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from PIL import Image

if TYPE_CHECKING:
    from typing import BinaryIO

RasterType = Literal["srgb_8", "sgray_8", "black_1"]

SYNC_WORD: Final = b"RaS2"
HEADER_OCTETS: Final = 1796

_COLOR_SPACES: Final = {"srgb_8": 19, "sgray_8": 18, "black_1": 3}
_MODES: Final = {"srgb_8": "RGB", "sgray_8": "L", "black_1": "1"}
_BITS: Final = {"srgb_8": (8, 24, 3), "sgray_8": (8, 8, 1), "black_1": (1, 1, 1)}
_MAX_REPEATED_LINES: Final = 256
_RUNS: Final = {
    # Runs of up to 128 equal pixels, and sequences of up to 128 pixels without equal neighbours; a single pixel is a
    # run of one. Both alternatives match whole pixels, so that the rest stays aligned.
    1: re.compile(rb"(.)\1{1,127}|(?:(.)(?!\2)){2,128}|.", re.DOTALL),
    3: re.compile(rb"(...)\1{1,127}|(?:(...)(?!\2)){2,128}|...", re.DOTALL),
}


@dataclass(frozen=True, slots=True)
class PageFormat:
    """The format of the pages in a file.

    Attributes:
        raster_type: the kind of pixels.
        dpi: dots per inch.
        pages: the number of pages; 0 if unknown.
        media: the paper's PWG 5101.1 name.
        duplex: whether both sides are printed.
        tumble: whether the paper is turned at the short edge.
        back: how the printer expects the back of a sheet (``pwg-raster-document-sheet-back``).
    """

    raster_type: RasterType
    dpi: int
    pages: int
    media: str
    duplex: bool = False
    tumble: bool = False
    back: str = "normal"

    def transform(self, number: int) -> tuple[int, int]:
        """Return the cross-feed and feed transform of a page, 1 or -1 each; `number` counts from 0."""
        if not self.duplex or number % 2 == 0:
            return 1, 1
        if self.back == "flipped":
            return (-1, 1) if self.tumble else (1, -1)
        if (self.back == "manual-tumble" and self.tumble) or (self.back == "rotated" and not self.tumble):
            return -1, -1
        return 1, 1


_TRANSPOSED: Final = {
    (-1, -1): Image.Transpose.ROTATE_180,
    (-1, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, -1): Image.Transpose.FLIP_TOP_BOTTOM,
}


def write_page(file: BinaryIO, image: Image.Image, page_format: PageFormat, number: int) -> None:
    """Write a page behind `SYNC_WORD` and the pages before it.

    Args:
        file: open for writing.
        image: the page, of the size of the paper.
        page_format: the format of the file.
        number: the number of the page, from 0.
    """
    x_feed, y_feed = page_format.transform(number)
    if (x_feed, y_feed) in _TRANSPOSED:
        image = image.transpose(_TRANSPOSED[x_feed, y_feed])
    image = image.convert(_MODES[page_format.raster_type])
    # Black is 1 in black_1 raster and 0 in Pillow.
    octets = image.tobytes() if page_format.raster_type != "black_1" else image.point([255] * 128 + [0] * 128).tobytes()
    line = len(octets) // image.height
    file.write(_header(image.width, image.height, line, page_format, x_feed, y_feed))
    pixel = 3 if page_format.raster_type == "srgb_8" else 1
    at = 0
    while at < len(octets):
        row = octets[at : at + line]
        repeats = 1
        while repeats < _MAX_REPEATED_LINES and octets[at + repeats * line : at + (repeats + 1) * line] == row:
            repeats += 1
        file.write(bytes([repeats - 1]) + _pack_line(row, pixel))
        at += repeats * line


def _pack_line(row: bytes, pixel: int) -> bytes:
    """Compress a line (PWG 5102.4 section 4.4)."""
    pieces: list[bytes] = []
    for found in _RUNS[pixel].finditer(row):
        octets = found[0]
        count = len(octets) // pixel
        if found[1] is not None or count == 1:
            pieces.append(bytes([count - 1]) + octets[:pixel])
        else:
            pieces.append(bytes([257 - count]) + octets)
    return b"".join(pieces)


def _header(width: int, height: int, line: int, page_format: PageFormat, x_feed: int, y_feed: int) -> bytes:
    """Return a page's header (PWG 5102.4 section 4.3, the CUPS header with some other fields)."""
    bits, pixel_bits, colors = _BITS[page_format.raster_type]
    points = [round(size * 72 / page_format.dpi) for size in (width, height)]
    header = bytearray(HEADER_OCTETS)
    header[0:9] = b"PwgRaster"
    for at, values in (
        (272, (int(page_format.duplex),)),
        (276, (page_format.dpi, page_format.dpi)),
        (340, (1,)),
        (352, points),
        (368, (int(page_format.tumble),)),
        (372, (width, height)),
        (384, (bits, pixel_bits, line, 0, _COLOR_SPACES[page_format.raster_type])),
        (420, (colors,)),
        (452, (page_format.pages, x_feed & 0xFFFFFFFF, y_feed & 0xFFFFFFFF, 0, 0, width, height, 0xFFFFFF)),
    ):
        struct.pack_into(f">{len(values)}I", header, at, *values)
    name = page_format.media.encode("ascii", "replace")[:63]
    header[1732 : 1732 + len(name)] = name
    return bytes(header)
