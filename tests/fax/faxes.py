"""Faxes as received mails, and the files made of them."""

from __future__ import annotations

import hashlib
import io
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import TYPE_CHECKING

import pypdfium2
from PIL import Image, ImageChops

from alerts.devices import Clock, run_device
from fax.pages import text_page
from mailslot.spool.incoming import Incoming
from mailslot_plugins.fax.profile import FINE, Resolution, write_tiff_fx

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot_plugins.fax.coding import Coding

ALICE, COPIER = "alice@example.test", "copier@example.test"

SETTINGS = f"""
[device]
name = "Copier"

[records.smtp]
server = "127.0.0.1"
port = 9
security = "none"
sender_address = "{COPIER}"
"""


@asynccontextmanager
async def fax_device(home: Path, fax: str = "", clock: Clock | None = None) -> AsyncGenerator[Device]:
    """A device with the lines of its section ``[fax]``."""
    async with run_device(home, f"{SETTINGS}\n[fax]\n{fax}\n", clock) as device:
        yield device


def fax_file(*pages: Image.Image, resolution: Resolution = FINE, coding: Coding = "MH") -> bytes:
    file = io.BytesIO()
    write_tiff_fx(file, pages, len(pages), resolution, coding)
    return file.getvalue()


def make_mail(
    *files: bytes,
    text: str = "",
    fields: dict[str, str] | None = None,
    names: tuple[str, ...] = (),
    kind: tuple[str, str] = ("image", "tiff"),
) -> bytes:
    """A fax with these files; `fields` replace default fields, or remove them if empty."""
    message = EmailMessage()
    usual = {
        "Return-Path": f"<{ALICE}>",
        "From": f"Alice <{ALICE}>",
        "To": COPIER,
        "Subject": "Fax from Alice",
        "Message-ID": "<1@example.test>",
    }
    for name, value in {**usual, **(fields or {})}.items():
        if value:
            message[name] = value
    message.set_content(text)
    for number, file in enumerate(files):
        name = names[number] if number < len(names) else f"fax{number}.tif"
        message.add_attachment(file, maintype=kind[0], subtype=kind[1], filename=name)
    return message.as_bytes().replace(b"\n", b"\r\n")


def store_incoming(octets: bytes, folder: Path, number: int = 1, tries: int = 1) -> Incoming:
    """A mail as the poller stores it."""
    digest = hashlib.sha256(octets).hexdigest()
    path = folder / digest
    path.write_bytes(octets)
    return Incoming(number, "fax-pop", f"u{number}", path, len(octets), digest, 1.8e9, tries, "fetched", "", None)


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def pages_of_pdf(path: Path) -> list[Image.Image]:
    """The pages of a PDF of faxes, pixel by pixel."""
    with pypdfium2.PdfDocument(path) as document:
        return [_picture(page) for page in document]


def _picture(page: pypdfium2.PdfPage) -> Image.Image:
    [picture] = page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE])
    return picture.get_bitmap().to_pil().convert("L")


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and ImageChops.difference(one.convert("L"), other.convert("L")).getbbox() is None


PAGES = [text_page(1), text_page(2, lines=1000)]
FAX = fax_file(*PAGES)
