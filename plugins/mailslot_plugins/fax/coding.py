"""Encodes and decodes pages in the facsimile codings MH, MR and MMR (ITU-T T.4, T.6), with libtiff.

An image is a Pillow image of mode ``1`` in which 255 is white.
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
"""Bits of the return to control, six ends of line (T.4 section 4.1.4); TIFF-FX omits it."""

# TIFF tags (TIFF 6.0 section 2, RFC 3949 section 3.2).
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_OFFSETS, _SAMPLES, _ROWS, _COUNTS, _T4_OPTIONS, _T6_OPTIONS = 273, 277, 278, 279, 292, 293


def encode(image: Image.Image, coding: Coding, *, aligned: bool = True) -> bytes:
    """Encode a page, most significant bit first, without a return to control.

    Args:
        image: mode ``1``.
        coding: the coding.
        aligned: whether each end of line ends at an octet, which most devices read best (RFC 3949 section 3.4).
    """
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[_ROWS] = image.height
    if coding != "MMR":
        tags[_T4_OPTIONS] = (4 if aligned else 0) | (coding == "MR")
    file = io.BytesIO()
    # White is 0 for libtiff and 1 for Pillow.
    ImageChops.invert(image).save(
        file, "TIFF", compression="group4" if coding == "MMR" else "group3", tiffinfo=tags, strip_size=2**30
    )
    with Image.open(file) as written:
        tags_written = cast("Mapping[int, tuple[int, ...]]", cast("TiffImagePlugin.TiffImageFile", written).tag_v2)
        [offset], [count] = tags_written[_OFFSETS], tags_written[_COUNTS]
    octets = file.getvalue()[offset : offset + count]
    return _strip_rtc(octets, _RTC_BITS[coding])


def reverse_bits(octets: bytes) -> bytes:
    """Reverse the bits of each octet, as FillOrder 2 requires."""
    return octets.translate(_REVERSED)


def decode(
    octets: bytes, size: tuple[int, int], compression: int, options: int, *, white: int = 0, reverse: bool = False
) -> Image.Image:
    """Decode a page from one strip; damaged lines are replaced as libtiff does it.

    Args:
        octets: the strip, as in the file.
        size: width and length in pixels.
        compression: 1, 2, 3, 4 or 32773 (TIFF 6.0 section 3).
        options: T4Options or T6Options.
        white: the value of a white bit, PhotometricInterpretation 0 or 1.
        reverse: whether the least significant bit comes first.

    Raises:
        OSError: it cannot be decoded at all.
    """
    if reverse:
        octets = reverse_bits(octets)
    with Image.open(io.BytesIO(_wrap_in_tiff(octets, size, compression, options, white))) as image:
        image.load()
        return image.convert("1")


def _strip_rtc(octets: bytes, bits: int) -> bytes:
    if not bits:
        return octets
    as_number = int.from_bytes(octets, "big")
    padding = (as_number & -as_number).bit_length() - 1
    tail = 0
    for _ in range(6):
        tail = tail << (bits // 6) | (1 if bits == 72 else 3)
    if as_number >> padding & ((1 << bits) - 1) != tail:
        return octets
    bit_length = len(octets) * 8 - padding - bits
    shifted = as_number >> padding + bits
    length = (bit_length + 7) // 8
    return (shifted << length * 8 - bit_length).to_bytes(length, "big")


def _wrap_in_tiff(octets: bytes, size: tuple[int, int], compression: int, options: int, white: int) -> bytes:
    """Return a plain TIFF file with one strip, free of whatever was odd in the sender's file."""
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
