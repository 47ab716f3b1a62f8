"""Faxes of other makers, and hostile ones."""

from __future__ import annotations

import io
import random
import struct
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops

from fax.pages import text_page
from mailslot_plugins.fax.coding import encode
from mailslot_plugins.fax.profile import write_tiff_fx
from mailslot_plugins.fax.received_pages import read_pages
from mailslot_plugins.intake.refusal import IntakeRefusedError

if TYPE_CHECKING:
    from mailslot_plugins.intake.tiff import TiffPage

SCAN = Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf"


def fax(*pages: Image.Image) -> bytes:
    file = io.BytesIO()
    write_tiff_fx(file, pages, len(pages))
    return file.getvalue()


def same(page: TiffPage, image: Image.Image) -> bool:
    return ImageChops.difference(page.image.convert("L"), image.convert("L")).getbbox() is None


def patched(octets: bytes, tag: int, value: int, *, kind: int = 4, page: int = 0) -> bytes:
    """The fax with a field of a page's directory changed."""
    changed = bytearray(octets)
    offset = 8
    for _ in range(page):
        [count] = struct.unpack_from("<H", octets, offset)
        [offset] = struct.unpack_from("<I", octets, offset + 2 + 12 * count)
    [count] = struct.unpack_from("<H", octets, offset)
    for position in range(offset + 2, offset + 2 + 12 * count, 12):
        if struct.unpack_from("<H", octets, position)[0] == tag:
            struct.pack_into("<HHII", changed, position, tag, kind, 1, value)
            return bytes(changed)
    raise AssertionError(tag)


def big_endian(image: Image.Image) -> bytes:
    """A file of the other byte order, its tags out of order, its directory behind the data at an odd offset."""
    strip = encode(image, "MMR")
    fields = [
        (283, 5, 1, 8),
        (282, 5, 1, 8),
        (279, 4, 1, len(strip)),
        (273, 4, 1, 16),
        (262, 3, 1, 0),
        (259, 3, 1, 4),
        (257, 3, 1, image.height),
        (256, 3, 1, image.width),
        (256, 3, 1, 9),
    ]
    offset = 16 + len(strip) + (1 - len(strip) % 2)
    octets = struct.pack(">2sHI2I", b"MM", 42, offset, 204, 1) + strip + bytes(offset - 16 - len(strip))
    octets += struct.pack(">H", len(fields))
    for tag, kind, count, value in fields:
        octets += struct.pack(">HHI", tag, kind, count)
        octets += struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value)
    return octets + bytes(4)


def test_our_own_faxes_are_read_back() -> None:
    images = [text_page(1), text_page(2, lines=1146)]
    pages = list(read_pages(fax(*images)))
    assert [(page.x, page.y, page.is_facsimile) for page in pages] == [(204, 196, True)] * 2
    assert all(map(same, pages, images))


def test_odd_files_are_read() -> None:
    image = text_page(1)
    [page] = read_pages(big_endian(image))
    assert same(page, image)
    octets = fax(image)
    for odd in (
        patched(octets, 282, 0),
        patched(octets, 297, 0x7FFF),
        patched(octets, 254, 0),
        patched(octets, 279, 0),
        patched(octets, 278, 0xFFFFFFFF),
    ):
        [page] = read_pages(odd)
        assert same(page, image)
        assert (page.x, page.y) == (204, 196)


def test_several_strips() -> None:
    image = text_page(1)
    file = io.BytesIO()
    image.save(file, "TIFF", compression="group3", strip_size=8192, dpi=(204, 196))
    [page] = read_pages(file.getvalue())
    assert same(page, image)


@pytest.mark.lab
@pytest.mark.parametrize("device", ["tiffg3", "tiffg32d", "tiffg4", "tiffpack", "tifflzw", "tiffgray"])
def test_ghostscript(device: str, tmp_path: Path) -> None:
    made, reference = tmp_path / "made.tif", tmp_path / "reference.tif"
    for name, output in ((device, made), ("tiffpack", reference)):
        subprocess.run(
            [
                "gs",
                "-q",
                "-dSAFER",
                "-dBATCH",
                "-dNOPAUSE",
                "-r204x196",
                "-g1728x2292",
                f"-sDEVICE={name}",
                f"-sOutputFile={output}",
                str(SCAN),
            ],
            check=True,
        )
    [page] = read_pages(made.read_bytes())
    assert page.image.size == (1728, 2292)
    black = page.image.histogram()[0]
    assert 50_000 < black < 1_000_000
    if device not in {"tiffgray", "tifflzw"}:
        assert page.is_facsimile
        [expected] = read_pages(reference.read_bytes())
        assert same(page, expected.image)


@pytest.mark.lab
@pytest.mark.parametrize("damage", [0, 1])
def test_fax2tiff_with_damaged_lines(tmp_path: Path, damage: int) -> None:
    image = text_page(1)
    raw = bytearray(encode(image, "MH", aligned=False))
    rng = random.Random(3)
    for _ in range(40 * damage):
        raw[rng.randrange(2000, len(raw))] ^= 1 << rng.randrange(8)
    (tmp_path / "raw.g3").write_bytes(raw)
    made = tmp_path / "made.tif"
    subprocess.run(["fax2tiff", "-M", "-o", made, tmp_path / "raw.g3"], capture_output=True, check=True)
    [page] = read_pages(made.read_bytes())
    assert page.image.width == 1728
    assert abs(page.image.height - image.height) <= 40 * damage
    if not damage:
        assert same(page, image)
    else:
        ink = page.image.histogram()[0]
        assert 0.9 < ink / image.histogram()[0] < 1.1


def test_damage_within_our_own() -> None:
    image = text_page(1)
    octets = bytearray(fax(image))
    octets[9000:9020] = b"\x55" * 20
    [page] = read_pages(bytes(octets))
    difference = ImageChops.difference(page.image.convert("L"), image.convert("L")).getbbox()
    assert difference is not None
    assert difference[3] - difference[1] < 40


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (b"", "not a TIFF"),
        (b"XX*\0\x08\0\0\0", "not a TIFF"),
        (b"II+\0\x08\0\0\0", "not a TIFF"),
        (b"II*\0\0\0\0\0", "no pages"),
        (b"II*\0\xff\xff\xff\x7f", "out of the file"),
        (patched(fax(text_page(1)), 256, 0), "is invalid"),
        (patched(fax(text_page(1)), 257, 2**31), "is invalid"),
        (patched(fax(text_page(1)), 257, 0), "is invalid"),
        (patched(fax(text_page(1)), 262, 5), "photometric"),
        (patched(fax(text_page(1)), 273, 2**31), "no content"),
        (patched(fax(text_page(1)), 259, 9), "profile J"),
        (patched(fax(text_page(1)), 259, 10), "profile L"),
        (patched(fax(text_page(1)), 254, 18), "profile M"),
        (patched(patched(fax(text_page(1)), 259, 7), 262, 10), "profile C"),
    ],
)
def test_refusals_are_sentences(octets: bytes, says: str) -> None:
    with pytest.raises(IntakeRefusedError, match=says):
        list(read_pages(octets))


def test_a_circular_chain_of_pages() -> None:
    octets = bytearray(fax(text_page(1, lines=300), text_page(2, lines=300)))
    [count] = struct.unpack_from("<H", octets, 8)
    [second] = struct.unpack_from("<I", octets, 10 + 12 * count)
    struct.pack_into("<I", octets, second + 2 + 12 * count, 8)
    seen: list[TiffPage] = []
    with pytest.raises(IntakeRefusedError, match="after 2 pages"):
        seen.extend(read_pages(bytes(octets)))


@given(st.binary(max_size=400))
def test_any_input_gives_pages_or_a_sentence(octets: bytes) -> None:
    whole = bytearray(SMALL)
    for index, octet in enumerate(octets):
        if octet % 7 == 0:
            whole[(octet * 31 + index * 17) % 230] = octet
    for data in (octets, bytes(whole), b"II*\0\x08\0\0\0" + octets):
        with suppress(IntakeRefusedError):
            for page in read_pages(data):
                assert page.image.mode == "1"


SMALL = fax(Image.new("1", (1728, 10), 255))
