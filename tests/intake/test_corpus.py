"""Documents sent through the product match the rendering of poppler and libtiff."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pikepdf
import pytest
from bench.corpus.documents import examine, is_document
from bench.corpus.pages import PageImage, compare
from PIL import Image

from intake.sample_documents import ORIENTATION, filled_form, letter_f, saved
from lab.fixtures import need

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAMS = ("pdftoppm", "tiff2rgba", "tiffinfo")
ROOT = Path(__file__).parents[2]
MAIL = b"From: a@example.com\r\nSubject: A page\r\n\r\nHello\r\n"


def pictured(path: Path, *, rotate: int = 0, crop: bool = False, size: tuple[int, int] = (300, 450)) -> Path:
    """A PDF of two pages, the second upside down, perhaps turned or cropped by what it says of its pages."""
    pages = [letter_f(size, "RGB"), letter_f(size, "RGB").rotate(180)]
    pages[0].save(path, "PDF", save_all=True, append_images=pages[1:], resolution=72)
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        for page in pdf.pages:
            page.rotate(rotate, relative=False)
            if crop:
                page.cropbox = pikepdf.Array([20, 30, size[0], size[1]])
        pdf.save(path)
    return path


def written(path: Path, octets: bytes) -> Path:
    path.write_bytes(octets)
    return path


DOCUMENTS: dict[str, Callable[[Path], Path]] = {
    "form.pdf": lambda path: filled_form(path, screen=False),
    "pages.pdf": pictured,
    "turned.pdf": lambda path: pictured(path, rotate=90),
    "cropped.pdf": lambda path: pictured(path, crop=True),
    "wide.pdf": lambda path: pictured(path, size=(1200, 700)),
    "coarse.tif": lambda path: written(
        path, saved(letter_f((1728, 1146), "1"), "TIFF", compression="group4", dpi=(204, 98))
    ),
    "sideways.tif": lambda path: written(
        path, saved(letter_f((400, 300)), "TIFF", tiffinfo={ORIENTATION: 6}, dpi=(100, 100))
    ),
    "negative.tif": lambda path: written(
        path, saved(letter_f((400, 600), "1"), "TIFF", compression="group3", dpi=(100, 100))
    ),
    "page.bmp": lambda path: written(path, saved(letter_f((400, 600), "RGB"), "BMP")),
    "page.webp": lambda path: written(path, saved(letter_f((400, 600), "RGB"), "WEBP")),
    "page.gif": lambda path: written(path, saved(letter_f((600, 400)), "GIF")),
}


@pytest.mark.lab
@pytest.mark.parametrize("name", DOCUMENTS)
def test_pages_match_other_renderers(name: str, tmp_path: Path) -> None:
    for program in PROGRAMS:
        need(program, shutil.which(program) is not None, "comes with script/setup on Debian")
    path = DOCUMENTS[name](tmp_path / name)
    assert is_document(path, path.read_bytes()[:4096])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert examine(path, scratch) == ("same", "")


def test_differences_are_detected() -> None:
    page = PageImage(letter_f((200, 300)), 4.0, 6.0)
    assert compare(page, page) == ""
    assert compare(PageImage(page.image, 4.0, 5.0), page).startswith("size")
    assert compare(PageImage(page.image.resize((200, 200))), PageImage(page.image)).startswith("shape")
    assert compare(PageImage(page.image.transpose(Image.Transpose.ROTATE_180)), page).startswith("turned round")
    assert compare(PageImage(page.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)), page).startswith("mirrored")
    assert compare(PageImage(page.image.point(lambda grey: 255 - grey)), page).startswith("inverted")
    partly = page.image.copy()
    partly.paste(255, (0, 0, 200, 80))
    assert compare(PageImage(partly), page).startswith("lost ink")


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "bench.corpus", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.lab
def test_a_folder_of_mails_and_documents(tmp_path: Path) -> None:
    for program in PROGRAMS:
        need(program, shutil.which(program) is not None, "comes with script/setup on Debian")
    for folder, name, octets in (("letters", "one.eml", MAIL), ("pages", "two.png", saved(letter_f(), "PNG"))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(octets)
    (tmp_path / "read me").write_bytes(b"\x7fELF")
    ran = command(tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "2 of 2\n")
    assert ran.stdout.splitlines() == [
        "letters (mails): 1: person 1 (100%); odd 0",
        "pages (documents): 1: same 1 (100%); odd 0",
    ]
    document = json.loads(command(tmp_path, "--json", "--only", "mails").stdout)
    assert document == [{"file": "letters/one.eml", "kind": "mails", "label": "person", "note": ""}]


def test_wrong_arguments(tmp_path: Path) -> None:
    (tmp_path / "one.eml").write_bytes(MAIL)
    for arguments, error in (
        ([tmp_path / "none"], "there is no folder"),
        ([tmp_path, "--only", "documents"], "there are no documents in"),
        ([tmp_path, "--workers", "0"], "--workers is 1 or more"),
        ([], "required: folder"),
    ):
        ran = command(*arguments)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert error in ran.stderr
