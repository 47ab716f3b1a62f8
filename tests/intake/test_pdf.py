"""PDF files as a viewer prints them: form fields are on faxes, prints and thumbnails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pikepdf
import pytest
from PIL import Image

from intake.sample_documents import BOX, NOTE, SCREEN, TEXT, filled_form, ink
from mailslot_plugins.fax.profile import FINE
from mailslot_plugins.fax.render import render_pages
from mailslot_plugins.intake.pdf import open_pdf, render_page
from mailslot_plugins.intake.process import IntakeError, run_task
from mailslot_plugins.intake.refusal import IntakeRefusedError
from mailslot_plugins.printers.formats import JPEG, PDF
from mailslot_plugins.printers.prepare import PrinterProfile, prepare
from mailslot_plugins.printers.printer import Document

if TYPE_CHECKING:
    from pathlib import Path

FAX_PAGE = (610, 400)
"""Points of a fax around a page of 400 by 400, which is in the middle."""


def placed(place: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    left, bottom, right, top = place
    return left + 105, bottom, right + 105, top


@pytest.mark.parametrize("appearances", [True, False])
def test_a_fax_shows_form_fields(tmp_path: Path, *, appearances: bool) -> None:
    path = filled_form(tmp_path / "form.pdf", pages=2, appearances=appearances)
    pages = list(render_pages(path.read_bytes(), "pdf", FINE, 10))
    assert len(pages) == 2
    for page in pages:
        assert ink(page, placed(TEXT), FAX_PAGE) > 0.05
        assert ink(page, placed(BOX), FAX_PAGE) > 0.05
        assert ink(page, placed(NOTE), FAX_PAGE) > 0.5
        # What is for the screen alone stays there.
        assert ink(page, placed(SCREEN), FAX_PAGE) < 0.01


async def test_prints_and_thumbnails_show_form_fields(tmp_path: Path) -> None:
    path = filled_form(tmp_path / "form.pdf")
    [made] = await prepare(Document(path, "pdf", "It", "alice@example.com"), tmp_path, PrinterProfile((JPEG,), dpi=72))
    with Image.open(made.path) as page:
        assert [ink(page, place) > 0.05 for place in (TEXT, BOX, NOTE, SCREEN)] == [True, True, True, False]
    into = tmp_path / "small.png"
    await run_task("thumbnail", {"path": str(path), "kind": "pdf", "into": str(into)}, tmp_path)
    with Image.open(into) as small:
        assert [ink(small, place) > 0.05 for place in (TEXT, BOX, NOTE, SCREEN)] == [True, True, True, False]


async def test_data_before_the_pdf_header_is_not_sent_to_a_printer(tmp_path: Path) -> None:
    path = filled_form(tmp_path / "form.pdf")
    odd = tmp_path / "odd.pdf"
    odd.write_bytes(b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n" + path.read_bytes())
    [made] = await prepare(Document(odd, "pdf", "It", "alice@example.com"), tmp_path, PrinterProfile((PDF,)))
    octets = made.path.read_bytes()
    assert octets.startswith(b"%PDF-")
    with open_pdf(octets) as document:
        page = render_page(document[0], 72, grey=True)
    assert [ink(page, place) > 0.05 for place in (TEXT, BOX, NOTE, SCREEN)] == [True, True, True, False]
    [same] = await prepare(Document(path, "pdf", "It", "alice@example.com"), tmp_path, PrinterProfile((PDF,)))
    assert same.path == path


@pytest.mark.parametrize("task", ["count", "received", "fax"])
async def test_errors_are_sentences_for_people(task: str, tmp_path: Path) -> None:
    broken, locked = tmp_path / "broken.pdf", tmp_path / "locked.pdf"
    broken.write_bytes(b"%PDF-1.4\nnothing")
    with pikepdf.open(filled_form(tmp_path / "form.pdf")) as pdf:
        pdf.save(locked, encryption=pikepdf.Encryption(owner="o", user="u"))
    for path, says in ((broken, "damaged"), (locked, "needs a password")):
        request = {
            "count": {"path": str(path), "kind": "pdf"},
            "received": {"texts": [], "documents": [{"path": str(path), "kind": "pdf", "name": "a"}], "name": "fax"},
            "fax": {
                "paths": [str(path)],
                "resolution": "fine",
                "coding": "MH",
                "header": "",
                "into": str(tmp_path / "fax.tif"),
            },
        }[task]
        with pytest.raises(IntakeError, match=says) as raised:
            await run_task(task, request, tmp_path)
        assert "pdfium" not in str(raised.value).lower()


def test_errors_of_libraries_become_sentences() -> None:
    with pytest.raises(IntakeRefusedError, match="damaged"), open_pdf(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj"):
        pass
