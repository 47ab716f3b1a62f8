"""Picture files: on faxes, prints and thumbnails, upright and on a white background."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageChops, ImageFile

from intake.sample_documents import letter_f, saved
from mailslot_plugins.intake.mail import OpenedMail, Part
from mailslot_plugins.intake.pictures import DamagedPictureError, read_picture
from mailslot_plugins.intake.process import IntakeError, run_task
from mailslot_plugins.print.selection import select_parts
from mailslot_plugins.printers.formats import JPEG, PDF, PWG, choose_format
from mailslot_plugins.printers.prepare import PrinterProfile, prepare
from mailslot_plugins.printers.printer import Document

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot_plugins.intake.kinds import Kind

SETTINGS: dict[str, Any] = {"max_attachments": 10, "body": "never", "printer_languages": False}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what becomes of a document; the processes that read it have tests on both."""
    return "asyncio"


def clear(image: Image.Image) -> Image.Image:
    """The picture with its white made transparent, over black."""
    made = Image.new("RGBA", image.size, (0, 0, 0, 0))
    made.putalpha(ImageChops.invert(image.convert("L")))
    return made


PICTURES: dict[str, tuple[Kind, bytes]] = {
    "bmp": ("bmp", saved(letter_f(mode="RGB"), "BMP")),
    "bmp of one bit": ("bmp", saved(letter_f(mode="1"), "BMP")),
    "bmp with a palette": ("bmp", saved(letter_f(mode="P"), "BMP")),
    "gif": ("gif", saved(letter_f(), "GIF")),
    "gif that moves": ("gif", saved(letter_f(), "GIF", save_all=True, append_images=[Image.new("L", (120, 180))])),
    "clear gif": ("gif", saved(clear(letter_f()), "GIF")),
    "webp": ("webp", saved(letter_f(mode="RGB"), "WEBP", quality=95)),
    "clear webp": ("webp", saved(clear(letter_f()), "WEBP", lossless=True)),
    "jpeg": ("jpeg", saved(letter_f(mode="RGB"), "JPEG", quality=95)),
    "clear png": ("png", saved(clear(letter_f()), "PNG")),
}


def alike(image: Image.Image) -> bool:
    expected = letter_f().resize(image.size)
    difference = ImageChops.difference(image.convert("L"), expected).histogram()
    return sum(grey * count for grey, count in enumerate(difference)) < 8 * image.width * image.height


@pytest.mark.parametrize("name", PICTURES)
async def test_printed_as_it_is_faxed(name: str, tmp_path: Path) -> None:
    kind, octets = PICTURES[name]
    path = tmp_path / "picture"
    path.write_bytes(octets)
    part = Part(path, kind, "application/octet-stream", "picture", len(octets), inline=False)
    mail = OpenedMail((), (), "", "", "", (), "", (part,), is_report=False, report=None, defects=())
    assert [each.refusal for each in select_parts(mail, "", SETTINGS)] == [""]
    assert (await run_task("count", {"path": str(path), "kind": kind}, tmp_path))["notes"] == []
    [printed] = await prepare(Document(path, kind, "It", "a@example.com"), tmp_path, PrinterProfile((JPEG,)))
    with Image.open(printed.path) as image:
        assert alike(image)
    documents = [{"path": str(path), "kind": kind, "name": "picture"}]
    await run_task("received", {"texts": [], "documents": documents, "name": "fax"}, tmp_path)
    with Image.open(tmp_path / "fax.tif") as image:
        # It is as high as a sheet of A4, and in the middle.
        wide = round(1728 * (120 / 180) / (210 / 297))
        left = (1728 - wide) // 2
        assert alike(image.convert("L").crop((left, 0, left + wide, image.height)).resize((120, 180)))


@pytest.mark.parametrize("kind", ["gif", "bmp", "webp"])
def test_pictures_that_a_printer_accepts(kind: Kind) -> None:
    assert choose_format(kind, {PDF, PWG}) == PDF
    assert choose_format(kind, {PWG}) == PWG
    assert choose_format(kind, ()) in {"image/gif", PDF}


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "webp"])
async def test_a_damaged_picture_is_refused_with_a_sentence(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(saved(letter_f(mode="RGB"), kind.upper())[:60])
    with pytest.raises(IntakeError, match=r"^The image cannot be read; it is damaged\.$"):
        await run_task("count", {"path": str(path), "kind": kind}, tmp_path)


SAID = "The image is damaged; only the readable part of it is shown."


def cut(kind: Kind, **options: Any) -> bytes:
    """Half of a picture's file: half of its octets are more or less half of its lines."""
    picture = Image.effect_noise((120, 180), 50).point(lambda grey: min(grey, 200)).convert("RGB")
    octets = saved(picture, kind.upper(), **options)
    return octets[: len(octets) // 2]


def lines(image: Image.Image) -> list[bool]:
    """Whether there is anything on each line of a picture."""
    grey = image.convert("L")
    return [grey.crop((0, line, grey.width, line + 1)).getextrema()[0] < 230 for line in range(grey.height)]


CUT: dict[str, tuple[Kind, bytes]] = {
    "jpeg": ("jpeg", cut("jpeg")),
    "progressive jpeg": ("jpeg", cut("jpeg", progressive=True)),
    "png": ("png", cut("png")),
    "gif": ("gif", cut("gif", interlace=0)),
    "bmp": ("bmp", cut("bmp")),
}


@pytest.mark.parametrize("name", CUT)
async def test_the_readable_part_of_a_truncated_picture_is_shown(name: str, tmp_path: Path) -> None:
    kind, octets = CUT[name]
    path = tmp_path / "picture"
    path.write_bytes(octets)
    assert (await run_task("count", {"path": str(path), "kind": kind}, tmp_path))["notes"] == [SAID]
    # A printer that takes such pictures as they are, and one that does not, are handed a whole one.
    for formats in ((), (PDF,)):
        [printed] = await prepare(Document(path, kind, "It", "a@example.com"), tmp_path, PrinterProfile(formats))
        assert printed.path != path
        if not formats and kind != "bmp":
            with Image.open(printed.path) as image:
                shown = lines(image)
    documents = [{"path": str(path), "kind": kind, "name": "scan"}]
    made = await run_task("received", {"texts": [], "documents": documents, "name": "fax"}, tmp_path)
    assert made == {"pages": 1, "notes": [f"'scan': {SAID}"]}
    with Image.open(tmp_path / "fax.tif") as image:
        faxed = lines(image.convert("L").resize((120, 180), Image.Resampling.BOX))
    await run_task("thumbnail", {"path": str(path), "kind": kind, "into": "small.png"}, tmp_path)
    with Image.open(tmp_path / "small.png") as image:
        small = lines(image.resize((120, 180)))
    for each in [faxed, small] if kind == "bmp" else [shown, faxed, small]:
        # Nothing is on the lines that did not come, neither grey nor black; of a progressive one, all came, coarsely.
        came = each[::-1] if kind == "bmp" else each
        assert all(came[4:60])
        assert any(came[150:176]) == (name == "progressive jpeg")


async def test_a_truncated_picture_keeps_its_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "picture.jpg"
    path.write_bytes(cut("jpeg", exif=exif))
    await run_task("thumbnail", {"path": str(path), "kind": "jpeg", "into": "small.png"}, tmp_path)
    with Image.open(tmp_path / "small.png") as image:
        assert image.width > image.height
        # What is below in the file is at the left of the picture.
        assert image.convert("L").crop((0, 0, 30, image.height)).getextrema() == (255, 255)
        assert image.convert("L").crop((image.width - 60, 0, image.width, image.height)).getextrema()[0] < 200


async def test_a_jpeg_without_its_end_marker_is_complete(tmp_path: Path) -> None:
    whole = saved(letter_f(mode="RGB"), "JPEG", quality=95)
    path = tmp_path / "picture.jpg"
    path.write_bytes(whole[:-2])
    [printed] = await prepare(Document(path, "jpeg", "It", "a@example.com"), tmp_path, PrinterProfile((JPEG,)))
    with Image.open(printed.path) as image:
        assert alike(image)


async def test_a_truncated_picture_is_not_sent_as_fax(tmp_path: Path) -> None:
    # Whoever sends it is there, and has the paper.
    path = tmp_path / "picture.jpg"
    path.write_bytes(CUT["jpeg"][1])
    request = {"paths": [str(path)], "resolution": "fine", "coding": "MMR", "header": "", "into": "sent.tif"}
    with pytest.raises(IntakeError, match=f"^{SAID}$"):
        await run_task("fax", request, tmp_path)


def test_the_next_picture_is_read_as_strictly_as_before() -> None:
    for _ in range(2):
        with pytest.raises(DamagedPictureError):
            read_picture(io.BytesIO(CUT["jpeg"][1]), "jpeg")
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
