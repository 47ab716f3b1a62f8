"""Pages of TIFF files as libtiff itself shows them, in RGBA: it knows forms of pixels that Pillow does not.

It is the library that Pillow brings, or the system's where only that one knows a compression. For the process of its
own: what is read here comes from anybody.
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

_SYSTEM: Final = ("libtiff.so.6", "libtiff.so.5", "libtiff.6.dylib")
_WIDTH, _LENGTH, _COMPRESSION, _ORIENTATION, _ROWS, _TILE_WIDTH, _TILE_LENGTH = 256, 257, 259, 274, 278, 322, 323
_UPRIGHT: Final = 1
_BAND: Final = 256
"""Lines that are taken over at a time."""


class NotShownError(ValueError):
    """A page that libtiff does not show."""


@contextmanager
def opened(data: bytes) -> Generator[TiffFile]:
    """Open a TIFF file.

    Args:
        data: the whole file.

    Raises:
        NotShownError: there is no libtiff here.
    """
    libraries = list(_libraries())
    if not libraries:
        raise NotShownError("there is no libtiff")
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield TiffFile(libraries, file.fileno())


class TiffFile:
    """An open file.

    Args:
        libraries: those that can be asked, the best first.
        descriptor: the file.
    """

    def __init__(self, libraries: list[ctypes.CDLL], descriptor: int) -> None:
        self._libraries = libraries
        self._descriptor = descriptor

    def page(self, offset: int, mode: str, most: int) -> Image.Image:
        """Return a page on white paper, as it lies in the file, whatever its orientation.

        Args:
            offset: where its directory is.
            mode: ``L`` or ``RGB``.
            most: the pixels that it may have.

        Raises:
            NotShownError: libtiff does not show it.
        """
        why = "it cannot be opened"
        for library in self._libraries:
            try:
                return _page(library, self._descriptor, offset, mode, most)
            except NotShownError as error:
                why = str(error)
        raise NotShownError(why)


def _libraries() -> Iterator[ctypes.CDLL]:
    beside = Path(PIL.__file__).parent
    bundled = [*beside.parent.glob("pillow.libs/libtiff*"), *beside.glob(".dylibs/libtiff*")]
    for name in [*map(str, bundled), *_SYSTEM]:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        yield _declared(library)


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
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
        # These two take more arguments, of which ctypes need not know.
        ("TIFFGetFieldDefaulted", ctypes.c_int, [pointer, number]),
        ("TIFFSetField", ctypes.c_int, [pointer, number]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _page(library: ctypes.CDLL, descriptor: int, offset: int, mode: str, most: int) -> Image.Image:
    # libtiff reads from where the descriptor is, and closes it.
    os.lseek(descriptor, 0, os.SEEK_SET)
    file = library.TIFFFdOpen(os.dup(descriptor), b"page", b"r")
    if not file:
        raise NotShownError("it cannot be opened")
    try:
        if not library.TIFFSetSubDirectory(file, offset):
            raise NotShownError("its directory cannot be read")
        if not library.TIFFIsCODECConfigured(_field(library, file, _COMPRESSION, ctypes.c_uint16)):
            raise NotShownError("its compression is not known")
        why = ctypes.create_string_buffer(1024)
        if not library.TIFFRGBAImageOK(file, why):
            raise NotShownError(why.value.decode("ascii", "replace"))
        size = _field(library, file, _WIDTH), _field(library, file, _LENGTH)
        if not all(size) or size[0] * size[1] > most:
            raise NotShownError(f"its size is {size[0]} × {size[1]}")
        # What comes then lies as in the file; to be turned by whoever knows the other three ways, too.
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
            raise NotShownError("its first strip cannot be read")
        # The last line comes first; a page of one strip would be in memory three times if it were not taken in bands.
        held = min(rows, high - row)
        for above in range(0, held, _BAND):
            below = min(held, above + _BAND)
            band = bytes(memoryview(raster).cast("B")[4 * wide * (held - below) : 4 * wide * (held - above)])
            image.paste(_on_paper(band, (wide, below - above), mode), (0, row + above))
    return image


def _from_tiles(library: ctypes.CDLL, file: int, size: tuple[int, int], mode: str) -> Image.Image:
    image = Image.new(mode, size, "white")
    wide, high = _field(library, file, _TILE_WIDTH), _field(library, file, _TILE_LENGTH)
    if not wide or not high or wide * high > 4 * max(1 << 16, size[0] * size[1]):
        raise NotShownError(f"its tiles are of {wide} × {high}")
    raster = ctypes.create_string_buffer(4 * wide * high)
    for down in range(0, size[1], high):
        for across in range(0, size[0], wide):
            if not library.TIFFReadRGBATile(file, across, down, raster) and not across and not down:
                raise NotShownError("its first tile cannot be read")
            image.paste(_on_paper(raster.raw, (wide, high), mode), (across, down))
    return image


def _on_paper(raster: bytes, size: tuple[int, int], mode: str) -> Image.Image:
    """Return pixels on white; they come last line first, and multiplied by their alpha."""
    order = "RGBA" if sys.byteorder == "little" else "ABGR"
    pixels = Image.frombuffer("RGBA", size, raster, "raw", order, 0, -1)
    shown = pixels.convert(mode)
    alpha = pixels.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return shown
    paper = ImageChops.invert(alpha)
    return ImageChops.add(shown, paper if mode == "L" else Image.merge("RGB", (paper, paper, paper)))
