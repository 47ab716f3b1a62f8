"""Conversion of documents for printers, in the confined process."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pikepdf
import pypdfium2
import pytest
from PIL import Image, ImageChops

from lab.fixtures import need
from mailslot_plugins.intake.limits import Limits
from mailslot_plugins.intake.printable import media_size
from mailslot_plugins.intake.process import IntakeError, run_task
from mailslot_plugins.printers.formats import CONVERSIONS, JPEG, PDF, PWG, choose_format
from mailslot_plugins.printers.prepare import PrinterProfile, prepare
from mailslot_plugins.printers.printer import Document
from printers import pwg_decoder

if TYPE_CHECKING:
    from mailslot_plugins.intake.kinds import Kind

SCAN = Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf"
A4_AT_150 = (1240, 1754)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what becomes of a document; the processes that read it have tests on both."""
    return "asyncio"


def document(path: Path, kind: Kind, **values: Any) -> Document:
    return Document(path, kind, "It", "alice@example.com", **values)


def pages(path: Path) -> list[Image.Image]:
    with pypdfium2.PdfDocument(path) as pdf:
        return [page.render(scale=1).to_pil() for page in pdf]


def pdf(path: Path, count: int, size: tuple[int, int] = (595, 842)) -> Path:
    with pypdfium2.PdfDocument.new() as made:
        for _ in range(count):
            made.new_page(*size)
        made.save(path)
    return path


def much_the_same(one: Image.Image, other: Image.Image) -> bool:
    small = [image.convert("L").resize((60, 85), Image.Resampling.BOX) for image in (one, other)]
    difference = ImageChops.difference(*small).histogram()
    return sum(grey * count for grey, count in enumerate(difference)) / (60 * 85) < 4


@pytest.mark.parametrize("raster_type", ["srgb_8", "sgray_8", "black_1"])
async def test_pwg_raster_is_what_another_decoder_reads(raster_type: str, tmp_path: Path) -> None:
    need("libcups", pwg_decoder.present(), "comes with script/setup on Debian")
    wanted = PrinterProfile((PWG,), dpi=150, raster_types=(raster_type,))
    [made] = await prepare(document(SCAN, "pdf"), tmp_path, wanted)
    assert made.media_type == PWG
    [sheet] = pwg_decoder.read(made.path)
    assert sheet.image.size == A4_AT_150
    assert (sheet.dpi, sheet.duplex, sheet.media, sheet.feeds) == (150, False, "iso_a4_210x297mm", (1, 1))
    assert much_the_same(sheet.image, pages(SCAN)[0])


@pytest.mark.parametrize(
    ("back", "sides", "turned"),
    [
        ("normal", "two-sided-long-edge", None),
        ("rotated", "two-sided-long-edge", Image.Transpose.ROTATE_180),
        ("rotated", "two-sided-short-edge", None),
        ("manual-tumble", "two-sided-short-edge", Image.Transpose.ROTATE_180),
        ("flipped", "two-sided-long-edge", Image.Transpose.FLIP_TOP_BOTTOM),
        ("flipped", "two-sided-short-edge", Image.Transpose.FLIP_LEFT_RIGHT),
    ],
)
async def test_backs_of_sheets(back: str, sides: Any, turned: Image.Transpose | None, tmp_path: Path) -> None:
    need("libcups", pwg_decoder.present(), "comes with script/setup on Debian")
    wanted = PrinterProfile((PWG,), dpi=100, raster_types=("sgray_8",), back=back)
    path = tmp_path / "two.txt"
    path.write_text("The quick\f brown fox")
    [made] = await prepare(document(path, "text", sides=sides), tmp_path, wanted)
    [normal] = await prepare(document(path, "text"), tmp_path / "..", replace(wanted, back="normal"))
    front, reverse = pwg_decoder.read(made.path)
    assert (front.duplex, front.tumble) == (True, sides == "two-sided-short-edge")
    plain = pwg_decoder.read(normal.path)
    assert ImageChops.difference(front.image, plain[0].image).getbbox() is None
    expected = plain[1].image if turned is None else plain[1].image.transpose(turned)
    assert ImageChops.difference(reverse.image, expected).getbbox() is None


async def test_text_is_rendered_so_that_commands_have_no_effect(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("Größe: 3 €\t東京\r\n".encode() * 200 + b"\x1b%-12345X@PJL" + b"y" * 5000)
    [made] = await prepare(document(path, "text"), tmp_path, PrinterProfile((PDF, "text/plain")))
    assert made.media_type == PDF
    octets = made.path.read_bytes()
    assert b"PJL" not in octets
    assert b"\x1b" + b"%-12345X" not in octets
    found = pages(made.path)
    assert 3 <= len(found) <= 6
    assert found[0].size == (596, 842) or found[0].size == (595, 842)
    with pypdfium2.PdfDocument(made.path) as opened:
        assert opened.get_page_size(0) == pytest.approx((595.2, 841.9), abs=1)


async def test_pictures_keep_their_look(tmp_path: Path) -> None:
    upright = Image.linear_gradient("L").resize((400, 200))
    clear = Image.new("RGBA", (50, 50), (0, 0, 0, 0))
    clear.save(tmp_path / "clear.png")
    upright.save(tmp_path / "turned.jpg", exif=_turned())
    pages_of_tiff = [Image.new("L", (1728, 1100), 255), upright.copy()]
    pages_of_tiff[0].save(tmp_path / "two.tif", save_all=True, append_images=pages_of_tiff[1:])
    [made] = await prepare(document(tmp_path / "clear.png", "png"), tmp_path, PrinterProfile((PDF,)))
    assert pages(made.path)[0].convert("L").getextrema() == (255, 255)
    [made] = await prepare(document(tmp_path / "turned.jpg", "jpeg"), tmp_path, PrinterProfile((PDF,)))
    [shown] = pages(made.path)
    assert shown.height > shown.width
    [made] = await prepare(document(tmp_path / "two.tif", "tiff"), tmp_path, PrinterProfile((PDF,)))
    assert len(pages(made.path)) == 2
    made_jpegs = await prepare(document(tmp_path / "two.tif", "tiff"), tmp_path, PrinterProfile((JPEG,)))
    assert len(made_jpegs) == 2
    [made] = await prepare(document(tmp_path / "turned.jpg", "jpeg"), tmp_path, PrinterProfile((JPEG,)))
    assert made.path == tmp_path / "turned.jpg"


@pytest.mark.parametrize(
    ("dpi", "size", "kind"),
    # A picture of no size of its own is as large as the paper, one of a size has that size, a page of a PDF, too.
    [(None, (877, 1754), "png"), ((100, 100), (300, 600), "png"), (None, (300, 600), "pdf")],
)
async def test_the_size_of_what_is_printed(
    dpi: tuple[int, int] | None, size: tuple[int, int], kind: Kind, tmp_path: Path
) -> None:
    need("libcups", pwg_decoder.present(), "comes with script/setup on Debian")
    path = tmp_path / f"picture.{kind}"
    values = {"resolution": 100} if kind == "pdf" else {"dpi": dpi} if dpi else {}
    Image.new("L", (200, 400)).save(path, **values)
    [made] = await prepare(document(path, kind), tmp_path, PrinterProfile((PWG,), dpi=150, raster_types=("sgray_8",)))
    [sheet] = pwg_decoder.read(made.path)
    left, top, right, bottom = ImageChops.invert(sheet.image.convert("L")).getbbox() or (0, 0, 0, 0)
    assert (right - left, bottom - top) == pytest.approx(size, abs=4)


async def test_a_jpeg_says_its_size_where_it_has_one(tmp_path: Path) -> None:
    for name, values in (("fax.tif", {"dpi": (204, 204)}), ("logo.gif", {})):
        Image.new("L", (400, 200)).save(tmp_path / name, **values)
    [fax] = await prepare(document(tmp_path / "fax.tif", "tiff"), tmp_path, PrinterProfile((JPEG,), dpi=600))
    [logo] = await prepare(document(tmp_path / "logo.gif", "gif"), tmp_path, PrinterProfile((JPEG,), dpi=600))
    with Image.open(fax.path) as image:
        assert image.info["dpi"] == (204, 204)
    with Image.open(logo.path) as image:
        assert "dpi" not in image.info


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


async def test_copies_that_a_printer_does_not_make(tmp_path: Path) -> None:
    made = await prepare(document(SCAN, "pdf", copies=3), tmp_path, PrinterProfile((PDF,), copies=1))
    assert [each.copies for each in made] == [1, 1, 1]
    made = await prepare(document(SCAN, "pdf", copies=3), tmp_path, PrinterProfile((PDF,), copies=99))
    assert [each.copies for each in made] == [3]


def bomb_png() -> bytes:
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    body = zlib.compress(b"\0" * 10_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def huge_jpeg() -> bytes:
    octets = io.BytesIO()
    Image.new("L", (16, 16)).save(octets, "JPEG")
    found = bytearray(octets.getvalue())
    at = found.index(b"\xff\xc0")
    found[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    return bytes(found)


@pytest.mark.parametrize(
    ("kind", "octets", "why"),
    [
        ("png", bomb_png(), "pixels"),
        ("jpeg", huge_jpeg(), "pixels"),
        ("jpeg", b"\xff\xd8\xff\xe0" + b"\0" * 100, "cannot be read"),
        ("tiff", b"II*\0\xff\xff\xff\x7f", "cannot be read"),
        ("pdf", b"%PDF-1.4\n1 0 obj<</Length 10>>stream\n" * 1000, "damaged"),
        ("text", b"a\f" * 25, "more than 20 pages"),
    ],
    ids=["png bomb", "jpeg bomb", "no jpeg", "tiff loop", "no pdf", "long text"],
)
@pytest.mark.parametrize("task", ["count", "printable"])
async def test_documents_that_exceed_the_limits(task: str, kind: Kind, octets: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(octets)
    with pytest.raises(IntakeError, match=why):
        await _opened(task, path, kind)


async def _opened(task: str, path: Path, kind: Kind) -> object:
    limits = Limits(pages=20)
    if task == "count":
        return await run_task("count", {"path": str(path), "kind": kind}, path.parent, limits)
    return await prepare(document(path, kind), path.parent, PrinterProfile(CONVERSIONS[kind], limits=limits))


async def test_pdfs_with_too_many_or_too_large_pages_or_a_password(tmp_path: Path) -> None:
    many = pdf(tmp_path / "many.pdf", 5)
    with pytest.raises(IntakeError, match="has 5 pages, more than 4"):
        await prepare(document(many, "pdf"), tmp_path, PrinterProfile((PDF,), limits=Limits(pages=4)))
    vast = pdf(tmp_path / "vast.pdf", 1, (20_000, 20_000))
    with pytest.raises(IntakeError, match="no size that can be printed"):
        await prepare(document(vast, "pdf"), tmp_path, PrinterProfile((PWG,)))
    [made] = await prepare(
        document(pdf(tmp_path / "large.pdf", 1, (10_000, 14_000)), "pdf"), tmp_path, PrinterProfile((JPEG,))
    )
    with Image.open(made.path) as image:
        assert image.width <= 2600
    with pikepdf.open(SCAN) as opened:
        opened.save(tmp_path / "secret.pdf", encryption=pikepdf.Encryption(user="x", owner="y"))
    with pytest.raises(IntakeError, match="password"):
        await prepare(document(tmp_path / "secret.pdf", "pdf"), tmp_path, PrinterProfile((PDF,)))


@pytest.mark.parametrize(
    ("kind", "taken", "chosen"),
    [
        ("pdf", (PDF, PWG), PDF),
        ("pdf", (PWG, JPEG), PWG),
        ("pdf", (JPEG,), JPEG),
        ("png", (JPEG, PWG), JPEG),
        ("png", ("image/png", PDF), "image/png"),
        ("tiff", ("image/tiff", PDF), PDF),
        ("text", ("text/plain", JPEG), JPEG),
        ("text", ("text/plain",), None),
        ("postscript", (PDF,), None),
        ("postscript", ("application/postscript",), "application/postscript"),
        ("other", (), None),
    ],
)
def test_formats(kind: Kind, taken: tuple[str, ...], chosen: str | None) -> None:
    assert choose_format(kind, taken) == chosen


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("na_letter_8.5x11in", (8.5, 11)),
        ("iso_a4_210x297mm", (8.27, 11.69)),
        ("custom_1x1mm", (8.27, 11.69)),
        ("x", (8.27, 11.69)),
        ("a_9.9.9x1mm", (8.27, 11.69)),
    ],
)
def test_paper(name: str, size: tuple[float, float]) -> None:
    assert media_size(name) == pytest.approx(size, abs=0.01)
