"""Profile S, tag by tag, read back by other decoders."""

from __future__ import annotations

import io
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageChops

from fax.pages import text_page
from mailslot_plugins.fax.coding import COMPRESSION, Coding, decode, encode, reverse_bits
from mailslot_plugins.fax.profile import FINE, STANDARD, Resolution, write_tiff_fx

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [text_page(1), text_page(2, lines=1146), Image.new("1", (1728, 97), 255), Image.new("1", (1728, 50), 0)]


def written(pages: list[Image.Image], resolution: Resolution = FINE, coding: Coding = "MH") -> bytes:
    file = io.BytesIO()
    assert write_tiff_fx(file, pages, len(pages), resolution, coding) == len(file.getvalue())
    return file.getvalue()


def test_every_octet_of_profile_s() -> None:
    """RFC 3949 sections 3.2 to 3.6: an all-white page of two lines, octet by octet."""
    octets = written([Image.new("1", (1728, 2), 255)], STANDARD)
    # White of 1728 is the make-up code 010011011 and the terminating code 00110101 (T.4 tables 2 and 3); an end of
    # line ends at an octet; no return to control.
    second = "010011011" + "00110101"
    bits = "0" * 4 + "000000000001" + second
    bits += "0" * (-(len(bits) + 12) % 8) + "000000000001" + second
    bits += "0" * (-len(bits) % 8)
    strip = reverse_bits(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    fields = [
        (254, 4, 1, 2),
        (256, 4, 1, 1728),
        (257, 4, 1, 2),
        (258, 3, 1, 1),
        (259, 3, 1, 3),
        (262, 3, 1, 0),
        (266, 3, 1, 2),
        (273, 4, 1, 8 + 2 + 16 * 12 + 4 + 16),
        (277, 3, 1, 1),
        (278, 4, 1, 2),
        (279, 4, 1, len(strip)),
        (282, 5, 1, 8 + 2 + 16 * 12 + 4),
        (283, 5, 1, 8 + 2 + 16 * 12 + 4 + 8),
        (292, 4, 1, 4),
        (296, 3, 1, 2),
        (297, 3, 2, 1 << 16),
    ]
    expected = struct.pack("<2sHIH", b"II", 42, 8, 16) + b"".join(struct.pack("<HHII", *field) for field in fields)
    expected += struct.pack("<I4I", 0, 204, 1, 98, 1) + strip
    assert octets == expected + bytes(len(strip) % 2)


@pytest.mark.parametrize("coding", ["MH", "MR", "MMR"])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("page", range(len(PAGES)))
def test_coding_and_back(coding: Coding, aligned: bool, page: int) -> None:
    image = PAGES[page]
    octets = encode(image, coding, aligned=aligned)
    options = 0 if coding == "MMR" else (4 if aligned else 0) | (coding == "MR")
    back = decode(reverse_bits(octets), image.size, COMPRESSION[coding], options, reverse=True)
    assert ImageChops.difference(back.convert("L"), image.convert("L")).getbbox() is None


def test_no_return_to_control() -> None:
    """TIFF has no return to control of six ends of line (RFC 3949 section 3.4)."""
    for coding, end in (("MH", "000000000001" * 2), ("MR", "0000000000011" * 2)):
        octets = encode(text_page(1), coding, aligned=False)  # type: ignore[arg-type]  # of the loop's literals
        assert end not in f"{int.from_bytes(octets, 'big'):b}"


@pytest.mark.lab
@pytest.mark.parametrize("resolution", [STANDARD, FINE])
def test_libtiff_agrees(tmp_path: Path, resolution: Resolution) -> None:
    fax, plain = tmp_path / "fax.tif", tmp_path / "plain.tif"
    fax.write_bytes(written(PAGES, resolution))
    for command in (
        ["tiffinfo", "-s", fax],
        ["tiffcp", fax, tmp_path / "copy.tif"],
        ["tiffcp", "-c", "none", fax, plain],
    ):
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ran.stderr == ""
        if command[0] == "tiffinfo":
            assert ran.stdout.count("Compression Scheme: CCITT Group 3") == 4
            assert ran.stdout.count("FillOrder: lsb-to-msb") == 4
            assert ran.stdout.count("Group 3 Options: EOL padding") == 4
            assert ran.stdout.count(f"Resolution: 204, {resolution.y} pixels/inch") == 4
            assert "Page Number: 3-4" in ran.stdout
    with Image.open(plain) as image:
        for number, page in enumerate(PAGES):
            image.seek(number)
            assert ImageChops.difference(image.convert("L"), page.convert("L")).getbbox() is None


def test_directories_begin_at_even_offsets() -> None:
    octets = written([Image.new("1", (1728, lines), 255) for lines in range(1, 40)])
    offset, seen = 8, 0
    while offset:
        assert offset % 2 == 0
        seen += 1
        [count] = struct.unpack_from("<H", octets, offset)
        [offset] = struct.unpack_from("<I", octets, offset + 2 + 12 * count)
    assert seen == 39


@pytest.mark.parametrize(
    ("pages", "total"),
    [
        ([Image.new("1", (1700, 10))], 1),
        ([Image.new("L", (1728, 10))], 1),
        ([text_page(1)], 2),
        ([text_page(1)] * 2, 1),
    ],
)
def test_invalid_pages(pages: list[Image.Image], total: int) -> None:
    with pytest.raises(ValueError, match="page"):
        write_tiff_fx(io.BytesIO(), pages, total)
