"""Reads pages of TIFF files with libtiff's RGBA interface, which supports pixel formats that Pillow does not.

It uses Pillow's bundled library, or the system's if only that one supports a compression. For the confined process.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import PIL
from PIL import Image, ImageChops

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_SYSTEM_LIBRARIES: Final = ("libtiff.so.6", "libtiff.so.5", "libtiff.6.dylib")
_WIDTH, _LENGTH, _COMPRESSION, _ORIENTATION, _ROWS, _TILE_WIDTH, _TILE_LENGTH = 256, 257, 259, 274, 278, 322, 323
_UPRIGHT: Final = 1
_BAND: Final = 256
"""Lines that are copied at a time."""


class LibtiffError(ValueError):
    """A page cannot be read by libtiff."""


@contextmanager
def open_tiff(data: bytes) -> Generator[TiffFile]:
    """Open a TIFF file.

    Raises:
        LibtiffError: libtiff is not installed.
    """
    libraries = list(_libraries())
    if not libraries:
        raise LibtiffError("there is no libtiff")
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield TiffFile(libraries, file.fileno())


class TiffFile:
    """An open TIFF file.

    Args:
        libraries: the libraries to try, best first.
        descriptor: the file.
    """

    def __init__(self, libraries: list[ctypes.CDLL], descriptor: int) -> None:
        self._libraries = libraries
        self._descriptor = descriptor

    def page(self, offset: int, mode: str, max_pixels: int) -> Image.Image:
        """Return a page on a white background, as stored in the file, without applying its orientation.

        Args:
            offset: the offset of its directory.
            mode: ``L`` or ``RGB``.
            max_pixels: the most pixels.

        Raises:
            LibtiffError: libtiff cannot read it.
        """
        why = "it cannot be opened"
        for library in self._libraries:
            try:
                return _render_page(library, self._descriptor, offset, mode, max_pixels)
            except LibtiffError as error:
                why = str(error)
        raise LibtiffError(why)


def _libraries() -> Iterator[ctypes.CDLL]:
    package = Path(PIL.__file__).parent
    bundled = [*package.parent.glob("pillow.libs/libtiff*"), *package.glob(".dylibs/libtiff*")]
    for name in [*map(str, bundled), *_SYSTEM_LIBRARIES]:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        yield _declare_functions(library)


def _declare_functions(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    for name, result, arguments in (
        ("TIFFFdOpen", pointer, [ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p]),
        ("TIFFClose", None, [pointer]),
        ("TIFFSetSubDirectory", ctypes.c_int, [pointer, ctypes.c_uint64]),
        ("TIFFRGBAImageOK", ctypes.c_int, [pointer, ctypes.c_char_p]),
        ("TIFFReadRGBAStrip", ctypes.c_int, [pointer, number, pointer]),
        ("TIFFReadRGBATile", ctypes.c_int, [pointer, number, number, pointer]),
        ("TIFFIsTiled", ctypes.c_int, [pointer]),
        ("TIFFIsCODECConfigured", ctypes.c_int, [ctypes.c_uint16]),
        # These two are variadic.
        ("TIFFGetFieldDefaulted", ctypes.c_int, [pointer, number]),
        ("TIFFSetField", ctypes.c_int, [pointer, number]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _render_page(library: ctypes.CDLL, descriptor: int, offset: int, mode: str, max_pixels: int) -> Image.Image:
    # libtiff reads from the descriptor's position, and closes it.
    os.lseek(descriptor, 0, os.SEEK_SET)
    file = library.TIFFFdOpen(os.dup(descriptor), b"page", b"r")
    if not file:
        raise LibtiffError("it cannot be opened")
    try:
        if not library.TIFFSetSubDirectory(file, offset):
            raise LibtiffError("its directory cannot be read")
        if not library.TIFFIsCODECConfigured(_field(library, file, _COMPRESSION, ctypes.c_uint16)):
            raise LibtiffError("its compression is not known")
        why = ctypes.create_string_buffer(1024)
        if not library.TIFFRGBAImageOK(file, why):
            raise LibtiffError(why.value.decode("ascii", "replace"))
        size = _field(library, file, _WIDTH), _field(library, file, _LENGTH)
        if not all(size) or size[0] * size[1] > max_pixels:
            raise LibtiffError(f"its size is {size[0]} × {size[1]}")
        # This disables libtiff's own rotation, which does not support all orientations; the caller rotates.
        library.TIFFSetField(file, _ORIENTATION, ctypes.c_int(_UPRIGHT))
        return (_from_tiles if library.TIFFIsTiled(file) else _from_strips)(library, file, size, mode)
    finally:
        library.TIFFClose(file)


def _field(
    library: ctypes.CDLL, file: int, tag: int, kind: type[ctypes.c_uint16 | ctypes.c_uint32] = ctypes.c_uint32
) -> int:
    value = kind()
    return int(value.value) if library.TIFFGetFieldDefaulted(file, tag, ctypes.byref(value)) else 0


def _from_strips(library: ctypes.CDLL, file: int, size: tuple[int, int], mode: str) -> Image.Image:
    wide, high = size
    image = Image.new(mode, size, "white")
    rows = min(_field(library, file, _ROWS) or high, high)
    raster = ctypes.create_string_buffer(4 * wide * rows)
    for row in range(0, high, rows):
        if not library.TIFFReadRGBAStrip(file, row, raster) and not row:
            raise LibtiffError("its first strip cannot be read")
        # Lines are in reverse order. Copying in bands keeps a single large strip from being in memory three times.
        held = min(rows, high - row)
        for above in range(0, held, _BAND):
            below = min(held, above + _BAND)
            band = bytes(memoryview(raster).cast("B")[4 * wide * (held - below) : 4 * wide * (held - above)])
            image.paste(_on_white(band, (wide, below - above), mode), (0, row + above))
    return image


def _from_tiles(library: ctypes.CDLL, file: int, size: tuple[int, int], mode: str) -> Image.Image:
    image = Image.new(mode, size, "white")
    wide, high = _field(library, file, _TILE_WIDTH), _field(library, file, _TILE_LENGTH)
    if not wide or not high or wide * high > 4 * max(1 << 16, size[0] * size[1]):
        raise LibtiffError(f"its tiles are of {wide} × {high}")
    raster = ctypes.create_string_buffer(4 * wide * high)
    for down in range(0, size[1], high):
        for across in range(0, size[0], wide):
            if not library.TIFFReadRGBATile(file, across, down, raster) and not across and not down:
                raise LibtiffError("its first tile cannot be read")
            image.paste(_on_white(raster.raw, (wide, high), mode), (across, down))
    return image


def _on_white(raster: bytes, size: tuple[int, int], mode: str) -> Image.Image:
    """Return pixels on white; the raster has its last line first and is premultiplied by alpha."""
    order = "RGBA" if sys.byteorder == "little" else "ABGR"
    pixels = Image.frombuffer("RGBA", size, raster, "raw", order, 0, -1)
    shown = pixels.convert(mode)
    alpha = pixels.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return shown
    paper = ImageChops.invert(alpha)
    return ImageChops.add(shown, paper if mode == "L" else Image.merge("RGB", (paper, paper, paper)))
