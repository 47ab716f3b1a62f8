"""Sample documents, made with Pillow and by hand, and readers of other programs for them."""

from __future__ import annotations

import random
import re
import subprocess
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Any

from PIL import Image

from lab.fixtures import need
from mailslot_plugins.scan.prepare import prepare_scan_message
from mailslot_plugins.sending.account import sending_settings
from mailslot_plugins.sending.recipients import parse_mailboxes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import EmailMessage
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot_plugins.scan.compose import ScanMessage
    from mailslot_plugins.scan.document import Document

ACCOUNT = "scanner@example.com"


_ONE_LINE = bytes(octet if octet not in b"\r\n" else 32 for octet in range(256))


def noise(number: int, size: tuple[int, int] = (120, 160), mode: str = "L") -> Image.Image:
    """A page that no compression makes small, a different one for each number."""
    octets = random.Random(number).randbytes(size[0] * size[1] * len(Image.new(mode, (1, 1)).getbands()))
    return Image.frombytes(mode, size, octets)


def tiff(path: Path, pages: int, *, mode: str = "L", compression: str = "tiff_lzw", **options: object) -> Path:
    images = [noise(number, mode="RGB" if mode == "RGB" else "L").convert(mode) for number in range(pages)]
    images[0].save(path, "TIFF", save_all=True, append_images=images[1:], compression=compression, **options)
    return path


def pdf(path: Path, pages: int, *, filler: int = 4000) -> Path:
    """A PDF whose pages say ``Page N`` and carry so many octets that cannot be compressed."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    kids = []
    for number in range(1, pages + 1):
        junk = random.Random(number).randbytes(filler).translate(_ONE_LINE)
        text = b"BT /F1 24 Tf 72 700 Td (Page %d) Tj ET" % number
        stream = text + b"\n%" + junk + b"\n"
        at = len(objects) + 1
        kids.append(b"%d 0 R" % at)
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R /Resources << /Font << /F1 << "
            b"/Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>" % (at + 1),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        ]
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (pages, b" ".join(kids))
    octets, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(octets))
        octets += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    octets += b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        table,
        len(objects) + 1,
        len(octets),
    )
    path.write_bytes(octets)
    return path


def pdf_pages(path: Path) -> int:
    """The pages that Poppler counts."""
    return int(re.search(r"^Pages: +(\d+)", _said("pdfinfo", path), re.MULTILINE)[1])  # type: ignore[index]


def pdf_text(path: Path) -> list[str]:
    """The text of each page, as Poppler reads it."""
    return [page.strip() for page in _said("pdftotext", path, "-").split("\f") if page.strip()]


def tiff_pages(path: Path) -> int:
    """The pages that libtiff counts."""
    return _said("tiffinfo", path).count("TIFF Directory at")


def _said(*command: object) -> str:
    need(str(command[0]), _which(str(command[0])), "need root on Debian")
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=900, check=True)
    return ran.stdout


def _which(program: str) -> bool:
    return subprocess.run(["which", program], capture_output=True, check=False).returncode == 0


async def scan_to_alice(device: Device, documents: Sequence[Document], **more: Any) -> ScanMessage:
    """A scan for Alice."""
    more.setdefault("to", parse_mailboxes(["alice@example.com"]))
    return await prepare_scan_message(device, await sending_settings(device), documents, **more)


async def mails(device: Device) -> list[EmailMessage]:
    """Return the mails in the spool, oldest first, parsed by the standard library."""
    found = []
    for job in reversed(await device.spool.jobs()):
        octets = b"".join([piece async for piece in device.spool.content(job).chunks()])
        assert len(octets) == job.size
        found.append(message_from_bytes(octets, policy=policy.default))
    return found  # type: ignore[return-value]


def attached(mail: EmailMessage) -> dict[str, bytes]:
    return {part.get_filename() or "": part.get_content() for part in mail.iter_attachments()}
