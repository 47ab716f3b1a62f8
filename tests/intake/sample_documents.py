"""Small sample documents of all kinds."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pikepdf
from pikepdf import Array, Dictionary, Name, Stream, String
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# TIFF tags (TIFF 6.0 section 8).
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, ORIENTATION = 256, 257, 258, 259, 262, 273, 274
SAMPLES, ROWS, COUNTS, X, Y, COLORS, EXTRA = 277, 278, 279, 282, 283, 320, 338
Field = tuple[int, int, list[int]]


def letter_f(size: tuple[int, int] = (120, 180), mode: str = "L") -> Image.Image:
    """An asymmetric picture: an F, dark at the upper left."""
    image = Image.new("L", size, 255)
    draw = ImageDraw.Draw(image)
    wide, high = size
    draw.rectangle((wide // 6, high // 8, wide // 3, 7 * high // 8), fill=0)
    draw.rectangle((wide // 6, high // 8, 5 * wide // 6, high // 4), fill=0)
    draw.rectangle((wide // 6, 4 * high // 9, 3 * wide // 5, 5 * high // 9), fill=0)
    return image.convert(mode, dither=Image.Dither.NONE)


def tiff_page(size: tuple[int, int], pixels: bytes, *fields: Field, big: bool = False) -> bytes:
    """A TIFF file of one page that is not compressed; `fields` are its tags, their types and their values."""
    given = {tag for tag, _, _ in fields}
    usual: list[Field] = [
        (WIDTH, 3, [size[0]]),
        (LENGTH, 3, [size[1]]),
        (BITS, 3, [8]),
        (COMPRESSION, 3, [1]),
        (PHOTOMETRIC, 3, [1]),
        (OFFSETS, 4, [16]),
        (SAMPLES, 3, [1]),
        (ROWS, 3, [size[1]]),
        (COUNTS, 4, [len(pixels)]),
    ]
    every = sorted([*(each for each in usual if each[0] not in given), *fields])
    place, inline, entry = ("<Q", 8, 20) if big else ("<I", 4, 12)
    directory = 16 + len(pixels) + len(pixels) % 2
    behind = directory + (8 if big else 2) + entry * len(every) + inline
    octets, values = b"", b""
    for tag, kind, numbers in every:
        value = struct.pack(f"<{len(numbers)}{'BBBHI'[kind]}", *numbers)
        if len(value) > inline:
            at = behind + len(values)
            values += value + bytes(len(value) % 2)
            value = struct.pack(place, at)
        octets += struct.pack("<HH", tag, kind) + struct.pack(place, len(numbers)) + value.ljust(inline, b"\0")
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, directory) if big else struct.pack("<2sHI8x", b"II", 42, directory)
    count = struct.pack("<Q" if big else "<H", len(every))
    return head + pixels + bytes(len(pixels) % 2) + count + octets + bytes(inline) + values


def pixels(*values: bytes, size: tuple[int, int] = (48, 32)) -> bytes:
    """The octets of a page of such pixels, from left to right in even stripes."""
    wide, high = size
    line = b"".join(values[min(len(values) - 1, x * len(values) // wide)] for x in range(wide))
    return line * high


def filled_form(path: Path, *, pages: int = 1, appearances: bool = True, screen: bool = True) -> Path:
    """A PDF with a form: a field with text, a box that is ticked, and notes for paper and for the screen."""
    with pikepdf.new() as pdf:
        fields: list[pikepdf.Object] = []
        for number in range(pages):
            page = pdf.add_blank_page(page_size=(400, 400))
            marks = [*_fields(pdf, number, appearances=appearances), *_notes(pdf, screen=screen)]
            page.Annots = Array(pdf.make_indirect(mark) for mark in marks)
            fields += [each for each in page.Annots if each.get("/FT") is not None]
        font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica)
        pdf.Root.AcroForm = Dictionary(
            Fields=Array(fields),
            DA=String("/F 40 Tf 0 g"),
            DR=Dictionary(Font=Dictionary(F=font)),
            NeedAppearances=not appearances,
        )
        pdf.save(path)
    return path


TEXT, BOX, NOTE, SCREEN = (40, 300, 360, 360), (40, 200, 100, 260), (150, 200, 210, 260), (260, 200, 320, 260)
"""Where in a page the text, the ticked box, the note for paper and that for the screen are, in points from below."""


def _form_object(pdf: pikepdf.Pdf, size: tuple[int, int], operators: bytes) -> Stream:
    font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica)
    return Stream(
        pdf,
        operators,
        Type=Name.XObject,
        Subtype=Name.Form,
        BBox=Array([0, 0, *size]),
        Resources=Dictionary(Font=Dictionary(F=font)),
    )


def _fields(pdf: pikepdf.Pdf, number: int, *, appearances: bool) -> Iterable[Dictionary]:
    text = Dictionary(
        Type=Name.Annot,
        Subtype=Name.Widget,
        FT=Name.Tx,
        F=4,
        T=String(f"name{number}"),
        V=String("WWWWWW"),
        DA=String("/F 40 Tf 0 g"),
        Rect=Array(TEXT),
    )
    if appearances:
        shown = _form_object(pdf, (320, 60), b"/Tx BMC BT /F 40 Tf 4 15 Td (WWWWWW) Tj ET EMC")
        text.AP = Dictionary(N=shown)
    yield text
    yield Dictionary(
        Type=Name.Annot,
        Subtype=Name.Widget,
        FT=Name.Btn,
        F=4,
        T=String(f"box{number}"),
        V=Name.Yes,
        AS=Name.Yes,
        Rect=Array(BOX),
        AP=Dictionary(
            N=Dictionary(
                Yes=_form_object(pdf, (60, 60), b"5 5 50 50 re f"), Off=_form_object(pdf, (60, 60), b"1 w 0 0 1 1 re s")
            )
        ),
    )


def _notes(pdf: pikepdf.Pdf, *, screen: bool) -> Iterable[Dictionary]:
    for place, flags in ((NOTE, 4), (SCREEN, 0))[: 2 if screen else 1]:
        yield Dictionary(
            Type=Name.Annot,
            Subtype=Name.Square,
            F=flags,
            Rect=Array(place),
            AP=Dictionary(N=_form_object(pdf, (60, 60), b"5 5 50 50 re f")),
        )


def ink(image: Image.Image, place: tuple[int, int, int, int], page: tuple[int, int] = (400, 400)) -> float:
    """How much of a place in a page is dark, from 0 to 1; the place in points from below."""
    across, down = image.width / page[0], image.height / page[1]
    left, bottom, right, top = place
    area = image.convert("L").crop(
        (round(left * across), round((page[1] - top) * down), round(right * across), round((page[1] - bottom) * down))
    )
    return 1 - sum(grey * count for grey, count in enumerate(area.histogram())) / (255 * area.width * area.height)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
