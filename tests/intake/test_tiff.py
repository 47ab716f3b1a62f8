"""TIFF files of all formats that libtiff reads, for faxes, prints and thumbnails."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageChops, ImageSequence

from fax.faxes import fax_file
from intake.sample_documents import (
    BITS,
    COLORS,
    COMPRESSION,
    EXTRA,
    ORIENTATION,
    PHOTOMETRIC,
    SAMPLES,
    letter_f,
    pixels,
    saved,
    tiff_page,
)
from lab.fixtures import need
from mailslot_plugins.fax.received_pages import read_pages
from mailslot_plugins.intake.limits import Limits
from mailslot_plugins.intake.printable import pages_of
from mailslot_plugins.intake.process import IntakeError, run_task
from mailslot_plugins.intake.refusal import DamagedDocumentError, IntakeRefusedError
from mailslot_plugins.intake.tiff import TiffPage, tiff_pages

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (48, 32)
HIGH, LOW = [255 * 257, 128 * 257, 0], [255, 128, 0]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what becomes of a document; the processes that read it have tests on both."""
    return "asyncio"


def colours(levels: list[int], entries: int = 256) -> list[int]:
    """A colour map whose first three entries are white, grey and black."""
    return (levels + [0] * (entries - 3)) * 3


def striped(mode: str) -> Image.Image:
    image = Image.new(mode, SIZE, "white")
    image.paste("red", (16, 0, 32, 32))
    image.paste("black", (32, 0, 48, 32))
    return image


FORMS = {
    "a map of 16 bits": tiff_page(SIZE, pixels(b"\0", b"\1", b"\2"), (PHOTOMETRIC, 3, [3]), (COLORS, 3, colours(HIGH))),
    "a map of 8 bits": tiff_page(SIZE, pixels(b"\0", b"\1", b"\2"), (PHOTOMETRIC, 3, [3]), (COLORS, 3, colours(LOW))),
    "a palette of 1 bit": tiff_page(
        SIZE, b"\x00\x00\x00\xff\xff\xff" * 32, (BITS, 3, [1]), (PHOTOMETRIC, 3, [3]), (COLORS, 3, [65535, 0] * 3)
    ),
    "LAB": tiff_page(
        SIZE,
        pixels(b"\xff\0\0", b"\x80\x40\0", b"\x10\0\0"),
        (BITS, 3, [8, 8, 8]),
        (PHOTOMETRIC, 3, [8]),
        (SAMPLES, 3, [3]),
    ),
    "grey with alpha": tiff_page(
        SIZE,
        pixels(b"\0\0", b"\x40\xff", b"\xd0\xff"),
        (BITS, 3, [8, 8]),
        (SAMPLES, 3, [2]),
        (EXTRA, 3, [2]),
    ),
    "clear colours": tiff_page(
        SIZE,
        pixels(b"\0\0\0\0", b"\xff\0\0\xff", b"\0\0\0\xff"),
        (BITS, 3, [8] * 4),
        (PHOTOMETRIC, 3, [2]),
        (SAMPLES, 3, [4]),
        (EXTRA, 3, [2]),
    ),
    "BigTIFF": tiff_page(SIZE, pixels(b"\xff", b"\x80", b"\0"), big=True),
    "inks": saved(striped("RGB").convert("CMYK"), "TIFF"),
    "JPEG in tiles or strips": saved(striped("RGB"), "TIFF", compression="jpeg", quality=95),
    "LZW in black and white": saved(letter_f(mode="1"), "TIFF", compression="tiff_lzw"),
    "16 bits of grey": saved(letter_f().convert("I;16").point(lambda grey: grey * 257), "TIFF"),
    "white is zero": tiff_page(SIZE, pixels(b"\0", b"\x80", b"\xff"), (PHOTOMETRIC, 3, [0])),
}


def shown_by_libtiff(path: Path) -> list[Image.Image]:
    need("tiff2rgba", shutil.which("tiff2rgba") is not None, "comes with script/setup on Debian")
    into = path.with_suffix(".rgba.tif")
    subprocess.run(["tiff2rgba", "-c", "none", path, into], check=True, capture_output=True)
    pages: list[Image.Image] = []
    with Image.open(into) as opened:
        for frame in ImageSequence.Iterator(opened):
            white = Image.new("RGB", frame.size, "white")
            white.paste(frame.convert("RGB"), mask=frame.convert("RGBA").getchannel("A"))
            pages.append(white)
    return pages


def alike(one: Image.Image, other: Image.Image) -> bool:
    if one.size != other.size:
        return False
    difference = ImageChops.difference(one.convert("L"), other.convert("L")).histogram()
    return sum(grey * count for grey, count in enumerate(difference)) <= 3 * one.width * one.height


@pytest.mark.lab
@pytest.mark.parametrize("form", FORMS)
async def test_all_formats_of_libtiff_are_received_and_printed(form: str, tmp_path: Path) -> None:
    path = tmp_path / "page.tif"
    path.write_bytes(FORMS[form])
    expected = shown_by_libtiff(path)
    pages = list(tiff_pages(FORMS[form], "RGB"))
    assert len(pages) == len(expected)
    assert all(alike(page.image, other) for page, other in zip(pages, expected, strict=True))
    # A page that is neither all black nor all white is not so on the fax either.
    [fax] = read_pages(FORMS[form])
    assert fax.image.size == expected[0].size
    assert 0.1 < fax.image.histogram()[0] / (fax.image.width * fax.image.height) < 0.9
    documents = [{"path": str(path), "kind": "tiff", "name": "page.tif"}]
    assert (await run_task("received", {"texts": [], "documents": documents, "name": "fax"}, tmp_path))["pages"] == 1
    assert (await run_task("count", {"path": str(path), "kind": "tiff"}, tmp_path))["pages"] == 1
    small = tmp_path / "small.png"
    await run_task("thumbnail", {"path": str(path), "kind": "tiff", "into": str(small)}, tmp_path)
    with Image.open(small) as shown:
        assert alike(shown, expected[0].resize(shown.size))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("mode", "compression"), [("1", "group4"), ("L", "tiff_lzw"), ("RGB", "jpeg")])
def test_every_page_is_upright(orientation: int, mode: str, compression: str) -> None:
    upright = letter_f(mode=mode)
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = upright.transpose(stored[orientation]) if orientation in stored else upright
    sideways = orientation >= 5
    dots = (98, 204) if sideways else (204, 98)
    octets = saved(image, "TIFF", compression=compression, tiffinfo={ORIENTATION: orientation}, dpi=dots)
    [page] = tiff_pages(octets, "L")
    assert alike(page.image, upright)
    assert (page.x, page.y) == (204, 98)
    [fax] = read_pages(octets)
    assert alike(fax.image, upright.convert("1"))


def with_last_pointer(octets: bytes, value: int, behind: bytes = b"") -> bytes:
    """A file whose last page points to another."""
    changed = bytearray(octets)
    offset = 8
    while True:
        [count] = struct.unpack_from("<H", changed, offset)
        place = offset + 2 + 12 * count
        [following] = struct.unpack_from("<I", changed, place)
        if not following:
            struct.pack_into("<I", changed, place, value)
            return bytes(changed) + behind
        offset = following


PAGES = [letter_f((1728, 300), "1"), letter_f((1728, 400), "1")]
GOOD = fax_file(*PAGES)
DAMAGED = {
    "out of the file": with_last_pointer(GOOD, 0x7FFFFFFF),
    "into pixels": with_last_pointer(GOOD, 900),
    "to noise": with_last_pointer(GOOD, len(GOOD), b"\x03\0" + b"\xff" * 60),
    "back": with_last_pointer(GOOD, 8),
    "to nothing": with_last_pointer(GOOD, len(GOOD), bytes(40)),
}


@pytest.mark.parametrize("damage", DAMAGED)
async def test_a_damaged_pointer_keeps_the_pages_before_it(damage: str, tmp_path: Path) -> None:
    seen: list[TiffPage] = []
    with pytest.raises(DamagedDocumentError, match="after 2 pages"):
        seen.extend(read_pages(DAMAGED[damage]))
    assert [alike(page.image, image) for page, image in zip(seen, PAGES, strict=True)] == [True, True]
    path = tmp_path / "fax.tif"
    path.write_bytes(DAMAGED[damage])
    documents = [{"path": str(path), "kind": "tiff", "name": "fax.tif"}]
    made = await run_task("received", {"texts": [], "documents": documents, "name": "made"}, tmp_path)
    assert made["pages"] == 2
    assert "The fax is damaged after 2 pages" in made["notes"][0]
    counted = await run_task("count", {"path": str(path), "kind": "tiff"}, tmp_path)
    assert (counted["pages"], len(counted["notes"])) == (2, 1)


async def test_too_large_pages_are_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    path.write_bytes(tiff_page((20_000, 20_000), b"\0" * 100))
    with pytest.raises(IntakeError, match="its size, 20000 × 20000, is invalid"):
        await run_task("count", {"path": str(path), "kind": "tiff"}, tmp_path)


@pytest.mark.parametrize(
    "octets", [tiff_page(SIZE, b"", (COMPRESSION, 3, [50013])), tiff_page(SIZE, b"x" * 1536, (BITS, 3, [5]))]
)
def test_sentences_do_not_quote_libraries(octets: bytes) -> None:
    for read in (lambda: list(read_pages(octets)), lambda: list(tiff_pages(octets, "RGB", noun="document"))):
        with pytest.raises(IntakeRefusedError, match="form that this device does not know") as raised:
            read()
        assert not any(word in str(raised.value) for word in ("BytesIO", "decoder", "identify", "Error", "0x"))


def test_a_standard_resolution_fax_is_printed_undistorted(tmp_path: Path) -> None:
    path = tmp_path / "coarse.tif"
    path.write_bytes(saved(letter_f((1728, 1146), "1"), "TIFF", compression="group4", dpi=(204, 98)))
    [page] = pages_of(path, "tiff", (8.27, 11.69), 300, Limits())
    assert page.size == (1728, round(1146 * 204 / 98))
    assert page.info["dpi"] == (204, 204)
