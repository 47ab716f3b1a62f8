"""Pages in the codings of facsimile: MH, MR and MMR (ITU-T T.4, T.6), by way of libtiff.

An image here is a Pillow image of mode ``1`` in which 255 is white, as on paper.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Final, Literal, cast

from PIL import Image, ImageChops, TiffImagePlugin

if TYPE_CHECKING:
    from collections.abc import Mapping

Coding = Literal["MH", "MR", "MMR"]

COMPRESSION: Final[Mapping[Coding, int]] = {"MH": 3, "MR": 3, "MMR": 4}
"""The TIFF tag Compression (RFC 3949 sections 3.4 and 4.3)."""

_REVERSED: Final = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))

_RTC_BITS: Final[Mapping[Coding, int]] = {"MH": 6 * 12, "MR": 6 * 13, "MMR": 0}
"""The length of the return to control, six ends of line (T.4 section 4.1.4); TIFF-FX does without."""

# TIFF tags (TIFF 6.0 section 2, RFC 3949 section 3.2).
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_OFFSETS, _SAMPLES, _ROWS, _COUNTS, _T4_OPTIONS, _T6_OPTIONS = 273, 277, 278, 279, 292, 293


def encode(image: Image.Image, coding: Coding, *, aligned: bool = True) -> bytes:
    """Return a page's octets, most significant bit first, without a return to control.

    Args:
        image: mode ``1``.
        coding: how.
        aligned: whether each end of line ends with an octet, which most devices read best (RFC 3949 section 3.4).
    """
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[_ROWS] = image.height
    if coding != "MMR":
        tags[_T4_OPTIONS] = (4 if aligned else 0) | (coding == "MR")
    file = io.BytesIO()
    # libtiff takes a bit of 0 for white, and Pillow one of 1.
    ImageChops.invert(image).save(
        file, "TIFF", compression="group4" if coding == "MMR" else "group3", tiffinfo=tags, strip_size=2**30
    )
    with Image.open(file) as written:
        tags_written = cast("Mapping[int, tuple[int, ...]]", cast("TiffImagePlugin.TiffImageFile", written).tag_v2)
        [offset], [count] = tags_written[_OFFSETS], tags_written[_COUNTS]
    octets = file.getvalue()[offset : offset + count]
    return _without_rtc(octets, _RTC_BITS[coding])


def reverse_bits(octets: bytes) -> bytes:
    """Return octets with the least significant bit first, or back again (FillOrder 2)."""
    return octets.translate(_REVERSED)


def decode(
    octets: bytes, size: tuple[int, int], compression: int, options: int, *, white: int = 0, reverse: bool = False
) -> Image.Image:
    """Return the page that is in a strip of octets; damaged lines are bridged as libtiff does.

    Args:
        octets: as they stand in the file.
        size: width and length in pixels.
        compression: 1, 2, 3, 4 or 32773 (TIFF 6.0 section 3).
        options: T4Options or T6Options.
        white: the bit that is white, PhotometricInterpretation 0 or 1.
        reverse: whether the least significant bit comes first.

    Raises:
        OSError: it cannot be decoded at all.
    """
    if reverse:
        octets = reverse_bits(octets)
    with Image.open(io.BytesIO(_wrapped(octets, size, compression, options, white))) as image:
        image.load()
        return image.convert("1")


def _without_rtc(octets: bytes, bits: int) -> bytes:
    if not bits:
        return octets
    whole = int.from_bytes(octets, "big")
    padding = (whole & -whole).bit_length() - 1
    tail = 0
    for _ in range(6):
        tail = tail << (bits // 6) | (1 if bits == 72 else 3)
    if whole >> padding & ((1 << bits) - 1) != tail:
        return octets
    left = len(octets) * 8 - padding - bits
    kept = whole >> padding + bits
    length = (left + 7) // 8
    return (kept << length * 8 - left).to_bytes(length, "big")


def _wrapped(octets: bytes, size: tuple[int, int], compression: int, options: int, white: int) -> bytes:
    """Return a plain TIFF file around one strip, so that whatever was odd about the sender's does not matter."""
    entries: list[tuple[int, int, int]] = [
        (_WIDTH, 4, size[0]),
        (_LENGTH, 4, size[1]),
        (_BITS, 3, 1),
        (_COMPRESSION, 3, compression),
        (_PHOTOMETRIC, 3, white),
        (_FILL_ORDER, 3, 1),
        (_OFFSETS, 4, 0),
        (_SAMPLES, 3, 1),
        (_ROWS, 4, size[1]),
        (_COUNTS, 4, len(octets)),
    ]
    if compression in {3, 4}:
        entries.append((_T4_OPTIONS if compression == 3 else _T6_OPTIONS, 4, options))
    start = 8 + 2 + 12 * len(entries) + 4
    directory = b"".join(
        struct.pack("<HHII", tag, kind, 1, start if tag == _OFFSETS else value) for tag, kind, value in entries
    )
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory + bytes(4) + octets
