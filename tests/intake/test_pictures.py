"""Pictures in files of their own: printed as they are faxed, on white paper, upright."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageChops

from intake.papers import arrow, saved
from mailslot_plugins.intake.mail import OpenedMail, Part
from mailslot_plugins.intake.process import IntakeError, run_task
from mailslot_plugins.print.choose import choose
from mailslot_plugins.printers.formats import JPEG, PDF, PWG, choose_format
from mailslot_plugins.printers.prepare import Wanted, prepare
from mailslot_plugins.printers.printer import Document

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot_plugins.intake.kinds import Kind

SETTINGS: dict[str, Any] = {"max_attachments": 10, "body": "never", "printer_languages": False}


def clear(image: Image.Image) -> Image.Image:
    """The picture with its white made transparent, over black."""
    made = Image.new("RGBA", image.size, (0, 0, 0, 0))
    made.putalpha(ImageChops.invert(image.convert("L")))
    return made


PICTURES: dict[str, tuple[Kind, bytes]] = {
    "bmp": ("bmp", saved(arrow(mode="RGB"), "BMP")),
    "bmp of one bit": ("bmp", saved(arrow(mode="1"), "BMP")),
    "bmp with a palette": ("bmp", saved(arrow(mode="P"), "BMP")),
    "gif": ("gif", saved(arrow(), "GIF")),
    "gif that moves": ("gif", saved(arrow(), "GIF", save_all=True, append_images=[Image.new("L", (120, 180))])),
    "clear gif": ("gif", saved(clear(arrow()), "GIF")),
    "webp": ("webp", saved(arrow(mode="RGB"), "WEBP", quality=95)),
    "clear webp": ("webp", saved(clear(arrow()), "WEBP", lossless=True)),
    "clear png": ("png", saved(clear(arrow()), "PNG")),
}


def alike(image: Image.Image) -> bool:
    expected = arrow().resize(image.size)
    difference = ImageChops.difference(image.convert("L"), expected).histogram()
    return sum(grey * count for grey, count in enumerate(difference)) < 8 * image.width * image.height


@pytest.mark.parametrize("name", PICTURES)
async def test_printed_as_it_is_faxed(name: str, tmp_path: Path) -> None:
    kind, octets = PICTURES[name]
    path = tmp_path / "picture"
    path.write_bytes(octets)
    part = Part(path, kind, "application/octet-stream", "picture", len(octets), inline=False)
    mail = OpenedMail((), (), "", "", "", (), "", (part,), is_report=False, report=None, flaws=())
    assert [each.refusal for each in choose(mail, "", SETTINGS)] == [""]
    [printed] = await prepare(Document(path, kind, "It", "a@example.com"), tmp_path, Wanted((JPEG,)))
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
def test_what_a_printer_takes(kind: Kind) -> None:
    assert choose_format(kind, {PDF, PWG}) == PDF
    assert choose_format(kind, {PWG}) == PWG
    assert choose_format(kind, ()) in {"image/gif", PDF}


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "webp"])
async def test_a_damaged_one_is_refused_in_words(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(saved(arrow(mode="RGB"), kind.upper())[:60])
    with pytest.raises(IntakeError, match=r"^The image cannot be read; it is damaged\.$"):
        await run_task("count", {"path": str(path), "kind": kind}, tmp_path)
