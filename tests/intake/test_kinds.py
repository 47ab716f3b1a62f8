"""The kind of a document, by its first octets, declared type and name."""

from __future__ import annotations

import io
import zipfile

import pytest
from PIL import Image

from intake.sample_documents import letter_f, saved
from mailslot_plugins.intake.kinds import HEAD_SIZE, detect_kind


def archive(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a", content)
    return file.getvalue()


def bitmap(octets: bytes) -> bytes:
    """A bitmap in which these octets are pixels."""
    line = octets.ljust(192, b"\xff")
    return saved(Image.frombytes("RGB", (64, 8), line * 8, "raw", "BGR"), "BMP")


PCL = b"\x1b&l0O\x1b(0U\0\0\x1bEx"


@pytest.mark.parametrize(
    ("octets", "declared", "name", "kind"),
    [
        (archive(b"\x1bE and \x1b%-12345X@PJL and %!PS"), "", "", "other"),
        (archive(b"\x1bE"), "application/pdf", "a.pdf", "other"),
        (bitmap(b"\x1bE\x1b%-12345X@PJL"), "", "", "bmp"),
        (b"\0\1\2\3 noise \x1bE @PJL \0" * 9, "", "", "other"),
        (b"\0\1\2\3 noise \x1bE @PJL \0" * 9, "application/octet-stream", "a.dat", "other"),
        (b"\0\1" + PCL, "application/vnd.hp-PCL", "", "pcl"),
        (b"\0\1" + PCL, "application/octet-stream", "job.PRN", "pcl"),
        (b"\x1bE" + PCL, "text/plain", "a.txt", "pcl"),
        (b"\x1b%-12345X@PJL\r\n%PDF-1.4", "application/pdf", "a.pdf", "pjl"),
        (b"%!PS-Adobe-3.0\n", "application/pdf", "a.pdf", "postscript"),
        (b"How to write %!PS and @PJL\n", "text/plain", "", "text"),
        (b"How to write %!PS and @PJL\n", "", "manual.TXT", "text"),
        (b"How to write %!PS and @PJL\n", "application/octet-stream", "manual", "pjl"),
        (b"Hello\n\x1b%-12345X@PJL SET X=1\n", "text/plain", "a.txt", "pjl"),
        (b"\r\n\r\n%PDF-1.4\n", "", "", "pdf"),
        (b"\xef\xbb\xbf%PDF-1.4\n", "application/pdf", "", "pdf"),
        (b"x" * 900 + b"%PDF-1.4\n", "", "", "pdf"),
        (b"x\x1b%-12345X@PJL ENTER LANGUAGE=PCL\n%PDF-1.4\n", "application/pdf", "a.pdf", "other"),
        (saved(letter_f(), "WEBP"), "", "", "webp"),
        (saved(letter_f(), "GIF"), "image/png", "a.png", "gif"),
        (saved(letter_f(), "TIFF", big_tiff=True), "", "", "tiff"),
        (b"BM is how many a text begins, such as this one about bitmaps", "text/plain", "", "text"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "", "", "other"),
    ],
)
def test_kinds(octets: bytes, declared: str, name: str, kind: str) -> None:
    assert detect_kind(octets[:HEAD_SIZE], declared, name) == kind
