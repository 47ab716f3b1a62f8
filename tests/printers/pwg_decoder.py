"""Decodes PWG raster with libcups."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

_LIBRARY = ctypes.util.find_library("cups")
_HEADER = 1796
_MODES = {18: "L", 19: "RGB", 3: "1"}


@dataclass
class Sheet:
    """A page as CUPS sees it."""

    image: Image.Image
    dpi: int
    duplex: bool
    tumble: bool
    media: str
    feeds: tuple[int, int]


def present() -> bool:
    return _LIBRARY is not None


def read(path: Path) -> list[Sheet]:
    """Return the pages of a file."""
    cups: Any = ctypes.CDLL(_LIBRARY)
    cups.cupsRasterOpen.restype = ctypes.c_void_p
    descriptor = os.open(path, os.O_RDONLY)
    raster = ctypes.c_void_p(cups.cupsRasterOpen(descriptor, 0))
    sheets = []
    header = ctypes.create_string_buffer(_HEADER)

    def number(at: int) -> int:
        return int.from_bytes(header.raw[at : at + 4], "little", signed=True)

    while cups.cupsRasterReadHeader2(raster, header):
        width, height, line, space = number(372), number(376), number(392), number(400)
        rows = ctypes.create_string_buffer(line * height)
        assert cups.cupsRasterReadPixels(raster, rows, line * height) == line * height
        octets = rows.raw if space != 3 else bytes(octet ^ 255 for octet in rows.raw)
        image = Image.frombytes(_MODES[space], (width, height), octets)
        name = header.raw[1732:1796].split(b"\0")[0].decode()
        sheets.append(Sheet(image, number(276), bool(number(272)), bool(number(368)), name, (number(456), number(460))))
    cups.cupsRasterClose(raster)
    os.close(descriptor)
    return sheets
