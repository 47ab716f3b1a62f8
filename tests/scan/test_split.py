"""Splitting PDF and TIFF files: every page is in one part, and other programs can read the parts."""

from __future__ import annotations

import subprocess
from io import BytesIO
from typing import TYPE_CHECKING

import pikepdf
import pypdfium2
import pytest
from PIL import Image, ImageSequence

from intake.sample_documents import BOX, TEXT, filled_form, ink
from mailslot_plugins.scan.document import inspect_file
from mailslot_plugins.scan.split import TooLargeError, split_document
from mailslot_plugins.scan.split_tiff import split_tiff
from mailslot_plugins.scan.tiff_pages import HEADER, TiffError, read_pages, write_pages
from scan.sample_documents import pdf, pdf_pages, pdf_text, tiff, tiff_pages

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    return tmp_path / "parts"


def pixels(path: Path) -> list[tuple[str, bytes]]:
    with Image.open(path) as image:
        return [(frame.mode, frame.tobytes()) for frame in ImageSequence.Iterator(image)]


async def test_pdf_by_pages(tmp_path: Path, parts: Path) -> None:
    path = pdf(tmp_path / "a.pdf", 10)
    found = await split_document(inspect_file(path), parts, 15_000)
    assert len(found) >= 4
    assert all(0 < part.size <= 15_000 for part in found)
    assert sum(pdf_pages(part.path) for part in found) == 10
    assert [text for part in found for text in pdf_text(part.path)] == [f"Page {number}" for number in range(1, 11)]
    assert [part.part for part in found] == [(number, len(found)) for number in range(1, len(found) + 1)]
    assert {part.name for part in found} == {"a.pdf"}


async def test_pdf_with_one_heavy_page(tmp_path: Path, parts: Path) -> None:
    light, heavy = pdf(tmp_path / "l.pdf", 12, filler=500), pdf(tmp_path / "h.pdf", 1, filler=20_000)
    with pikepdf.open(light) as target, pikepdf.open(heavy) as source:
        target.pages.extend(source.pages)
        target.save(tmp_path / "both.pdf")
    found = await split_document(inspect_file(tmp_path / "both.pdf"), parts, 25_000)
    assert sum(pdf_pages(part.path) for part in found) == 13
    assert all(part.size <= 25_000 for part in found)
    with pytest.raises(TooLargeError, match=r"'both.pdf' has .* room for 10.0 kB.*one of its pages has 2\d\.\d kB"):
        await split_document(inspect_file(tmp_path / "both.pdf"), parts, 10_000)


@pytest.mark.parametrize(
    ("encryption", "why"),
    [
        (pikepdf.Encryption(owner="o", user="u"), "protected by a password"),
        (pikepdf.Encryption(owner="o", user=""), "encrypted"),
    ],
)
async def test_protected_pdf(tmp_path: Path, parts: Path, encryption: pikepdf.Encryption, why: str) -> None:
    with pikepdf.open(pdf(tmp_path / "a.pdf", 3)) as opened:
        opened.save(tmp_path / "locked.pdf", encryption=encryption)
    with pytest.raises(TooLargeError, match=why):
        await split_document(inspect_file(tmp_path / "locked.pdf"), parts, 5_000)


async def test_damaged_pdf(tmp_path: Path, parts: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4\n" + bytes(range(256)) * 100)
    with pytest.raises(TooLargeError, match="damaged"):
        await split_document(inspect_file(tmp_path / "a.pdf"), parts, 5_000)


@pytest.mark.parametrize(
    ("mode", "compression", "options"),
    [
        ("1", "group4", {}),
        ("1", "group3", {}),
        ("L", "tiff_lzw", {}),
        ("L", "raw", {}),
        ("L", "packbits", {}),
        ("L", "jpeg", {}),
        ("RGB", "jpeg", {}),
        ("RGB", "tiff_adobe_deflate", {}),
        ("RGB", "raw", {"big_tiff": False}),
    ],
)
async def test_tiff_by_pages_is_not_compressed_again(
    tmp_path: Path, parts: Path, mode: str, compression: str, options: dict[str, object]
) -> None:
    path = tiff(tmp_path / "a.tif", 7, mode=mode, compression=compression, dpi=(204, 196), **options)
    room = path.stat().st_size // 3
    found = await split_document(inspect_file(path), parts, room)
    assert len(found) >= 3
    assert all(part.size <= room for part in found)
    assert sum(tiff_pages(part.path) for part in found) == 7
    assert [page for part in found for page in pixels(part.path)] == pixels(path)
    with path.open("rb") as whole:
        strips = [strip for page in read_pages(whole) for strip in octets(whole, page.strips)]
    copied = []
    for part in found:
        with part.path.open("rb") as opened:
            copied += [strip for page in read_pages(opened) for strip in octets(opened, page.strips)]
    assert copied == strips
    with Image.open(found[-1].path) as image:
        assert tuple(round(float(each)) for each in image.info["dpi"]) == (204, 196)


def octets(opened: object, data: tuple[tuple[int, int], ...]) -> list[bytes]:
    found = []
    for start, size in data:
        opened.seek(start)  # type: ignore[attr-defined]
        found.append(opened.read(size))  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    "options", [["-t", "-w", "64", "-l", "64"], ["-B"], ["-r", "8"]], ids=["tiles", "MM", "strips"]
)
def test_tiff_of_other_programs(tmp_path: Path, parts: Path, options: list[str]) -> None:
    path = tmp_path / "b.tif"
    subprocess.run(["tiffcp", *options, tiff(tmp_path / "a.tif", 4), path], check=True, timeout=900)
    found = split_tiff(path, parts, path.stat().st_size // 2)
    assert isinstance(found, list)
    assert sum(map(tiff_pages, found)) == 4
    assert [page for part in found for page in pixels(part)] == pixels(path)


def test_tiff_pages_know_their_size(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", 3)
    with path.open("rb") as file:
        pages = read_pages(file)
        target = BytesIO()
        write_pages(target, [(file, page) for page in pages])
    assert len(target.getvalue()) <= HEADER + sum(page.size for page in pages)


async def test_a_tiff_page_alone_too_large(tmp_path: Path, parts: Path) -> None:
    with pytest.raises(TooLargeError, match=r"one of its pages has 2\d\.\d kB"):
        await split_document(inspect_file(tiff(tmp_path / "a.tif", 3)), parts, 10_000)


def broken(path: Path) -> list[bytes]:
    whole = path.read_bytes()
    start = int.from_bytes(whole[4:8], "little")
    return [
        whole[:4],
        whole[: len(whole) // 2],
        whole[:4] + (len(whole) + 5).to_bytes(4, "little"),
        b"II*\0\x08\0\0\0\0\0",
        b"II+\0" + whole[4:],
        whole[:start] + b"\xff\xff" + whole[start + 2 :],
        b"II*\0\x08\0\0\0" + b"\x01\0" + b"\0\1\3\0\1\0\0\0\1\0\0\0" + b"\x08\0\0\0",
    ]


@pytest.mark.parametrize("number", range(7))
def test_broken_tiff(tmp_path: Path, parts: Path, number: int) -> None:
    path = tmp_path / "broken.tif"
    path.write_bytes(broken(tiff(tmp_path / "a.tif", 2))[number])
    with pytest.raises(TiffError):
        split_tiff(path, parts, 1000)


async def test_documents_that_cannot_be_split(tmp_path: Path, parts: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8\xff" + bytes(50_000))
    with pytest.raises(TooLargeError, match=r"'a.jpg' has 50.0 kB.*20.0 kB.*only PDF and TIFF"):
        await split_document(inspect_file(path), parts, 20_000)


@pytest.mark.parametrize("room", [2_000, 30_000])
async def test_one_page_stays_as_it_is(tmp_path: Path, parts: Path, room: int) -> None:
    form, image = filled_form(tmp_path / "form.pdf"), tiff(tmp_path / "page.tif", 1)
    # Octets behind the end, which a copy would leave out: it might even fit.
    for path in (form, image):
        path.write_bytes(path.read_bytes() + b"\n%" + bytes(60_000))
        before = path.read_bytes()
        with pytest.raises(TooLargeError, match=r"it cannot be split: it has one page only\. Nothing was sent"):
            await split_document(inspect_file(path), parts, room)
        assert path.read_bytes() == before


async def test_parts_show_form_fields(tmp_path: Path, parts: Path) -> None:
    path = filled_form(tmp_path / "form.pdf", pages=4)
    found = await split_document(inspect_file(path), parts, path.stat().st_size - 100)
    assert len(found) > 1
    shown = 0
    for part in found:
        with pypdfium2.PdfDocument(part.path) as document:
            for page in document:
                image = page.render(scale=1).to_pil()
                assert ink(image, TEXT) > 0.05
                assert ink(image, BOX) > 0.5
                shown += 1
    assert shown == 4
