"""Pages as PWG raster (PWG 5102.4), which every IPP Everywhere printer takes."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from PIL import Image

if TYPE_CHECKING:
    from typing import BinaryIO

RasterType = Literal["srgb_8", "sgray_8", "black_1"]

SYNC: Final = b"RaS2"
HEADER_OCTETS: Final = 1796

_COLOR_SPACES: Final = {"srgb_8": 19, "sgray_8": 18, "black_1": 3}
_MODES: Final = {"srgb_8": "RGB", "sgray_8": "L", "black_1": "1"}
_BITS: Final = {"srgb_8": (8, 24, 3), "sgray_8": (8, 8, 1), "black_1": (1, 1, 1)}
_MOST_LINES: Final = 256
_RUNS: Final = {
    # Runs of up to 128 equal pixels, and stretches of up to 128 of which no two neighbours are equal; a single pixel
    # is a run of one. Both alternatives take whole pixels, so that what follows stays aligned.
    1: re.compile(rb"(.)\1{1,127}|(?:(.)(?!\2)){2,128}|.", re.DOTALL),
    3: re.compile(rb"(...)\1{1,127}|(?:(...)(?!\2)){2,128}|...", re.DOTALL),
}


@dataclass(frozen=True, slots=True)
class Form:
    """How the pages of a file are.

    Attributes:
        raster_type: the kind of pixels.
        dpi: dots an inch.
        pages: how many follow; 0 where that is not known.
        media: the paper's name in PWG 5101.1.
        duplex: whether both sides are printed.
        tumble: whether the back is turned over at the short edge.
        back: how the printer wants the back of a sheet (``pwg-raster-document-sheet-back``).
    """

    raster_type: RasterType
    dpi: int
    pages: int
    media: str
    duplex: bool = False
    tumble: bool = False
    back: str = "normal"

    def transform(self, number: int) -> tuple[int, int]:
        """Return which way a page is fed across and along, 1 or -1 each; `number` counts from 0."""
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


def write_page(file: BinaryIO, image: Image.Image, form: Form, number: int) -> None:
    """Write a page behind `SYNC` and the pages before it.

    Args:
        file: open for writing.
        image: as large as the paper.
        form: that of the file.
        number: which page, from 0.
    """
    across, along = form.transform(number)
    if (across, along) in _TRANSPOSED:
        image = image.transpose(_TRANSPOSED[across, along])
    image = image.convert(_MODES[form.raster_type])
    # Black is 1 in this kind of pixels, and 0 in Pillow's.
    octets = image.tobytes() if form.raster_type != "black_1" else image.point([255] * 128 + [0] * 128).tobytes()
    line = len(octets) // image.height
    file.write(_header(image.width, image.height, line, form, across, along))
    pixel = 3 if form.raster_type == "srgb_8" else 1
    at = 0
    while at < len(octets):
        row = octets[at : at + line]
        same = 1
        while same < _MOST_LINES and octets[at + same * line : at + (same + 1) * line] == row:
            same += 1
        file.write(bytes([same - 1]) + _packed(row, pixel))
        at += same * line


def _packed(row: bytes, pixel: int) -> bytes:
    """Return a line in runs (PWG 5102.4 section 4.4)."""
    pieces: list[bytes] = []
    for found in _RUNS[pixel].finditer(row):
        octets = found[0]
        count = len(octets) // pixel
        if found[1] is not None or count == 1:
            pieces.append(bytes([count - 1]) + octets[:pixel])
        else:
            pieces.append(bytes([257 - count]) + octets)
    return b"".join(pieces)


def _header(width: int, height: int, line: int, form: Form, across: int, along: int) -> bytes:
    """Return a page's header (PWG 5102.4 section 4.3, which is that of CUPS with some fields of its own)."""
    bits, pixel_bits, colors = _BITS[form.raster_type]
    points = [round(size * 72 / form.dpi) for size in (width, height)]
    header = bytearray(HEADER_OCTETS)
    header[0:9] = b"PwgRaster"
    for at, values in (
        (272, (int(form.duplex),)),
        (276, (form.dpi, form.dpi)),
        (340, (1,)),
        (352, points),
        (368, (int(form.tumble),)),
        (372, (width, height)),
        (384, (bits, pixel_bits, line, 0, _COLOR_SPACES[form.raster_type])),
        (420, (colors,)),
        (452, (form.pages, across & 0xFFFFFFFF, along & 0xFFFFFFFF, 0, 0, width, height, 0xFFFFFF)),
    ):
        struct.pack_into(f">{len(values)}I", header, at, *values)
    name = form.media.encode("ascii", "replace")[:63]
    header[1732 : 1732 + len(name)] = name
    return bytes(header)
