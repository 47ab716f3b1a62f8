"""Files of faxes and mails that are damaged at random, and what must hold of whatever comes of them.

Run by `test_fuzz` as a process of its own, which ends with the first one that does harm:
``python fuzz.py tiff|mime|pdf|picture SECONDS COUNT [SEED [FILE]]``, and the file always holds the last one.
"""

from __future__ import annotations

import io
import os
import random
import struct
import sys
import time
import warnings
from contextlib import chdir
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from PIL import Image

from fax.faxes import FAX, fax_file, make_mail
from fax.test_bounces import DELAYED, EXIM, GMAIL, IN_BASE64, MIXED, OPENSMTPD, QMAIL
from fax.test_reports import dsn, group, mdn
from intake.sample_documents import filled_form, letter_f, saved
from intake.test_pictures import PICTURES
from intake.test_structure import HEAD, LINES, SCAN, SMIME, WINMAIL, outlook_file, signed, tnef, uuencoded, yencoded
from intake.test_tiff import FORMS
from mailslot_plugins.fax.profile import STANDARD
from mailslot_plugins.fax.received_pages import read_pages
from mailslot_plugins.fax.render import render_pages
from mailslot_plugins.intake.kinds import HEAD_SIZE, detect_kind
from mailslot_plugins.intake.limits import Limits
from mailslot_plugins.intake.mail import opened_mail_from_json
from mailslot_plugins.intake.mime import KEPT_FIELDS, read_mail
from mailslot_plugins.intake.pictures import FORMATS
from mailslot_plugins.intake.refusal import IntakeRefusedError
from mailslot_plugins.intake.thumbnail import make_thumbnail

if TYPE_CHECKING:
    from collections.abc import Callable

SLOWEST = 10.0
"""Seconds that one of them may take."""

NUMBERS = (0, 1, 2, 3, 4, 7, 8, 9, 10, 255, 256, 1728, 65535, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
TAGS = (254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 282, 283, 284, 292, 293, 296, 297, 322, 323, 324, 325)
WORDS = (
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"--b",
        b"--b--",
        b"\0",
        b"\r",
        b"\n ",
        b";",
        b'"',
        b"(",
        b"<",
        b"=?utf-8?B?",
        b"?=",
        b"=\r\n",
    ),
    *(
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"=?x?Q?=FF?=",
        b"\xff\xfe",
    ),
    *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: x-uuencode\r\n", b"charset*0*=x''%FF"),
    *(b"Content-Disposition: attachment; filename*=utf-8''..%2F..%2Fetc%2Fpasswd\r\n", b"Message-ID: <", b"boundary="),
    *(
        b"charset=",
        b"charset=utf-7",
        b"charset=idna",
        b"charset=rot13",
        b"From: a@b, ",
        b"name*1*=",
        b"begin 644 x\r\n",
        b"=ybegin line=1\r\n",
        b"-----BEGIN PGP SIGNATURE-----\r\n",
        b"\r\n" + b"A" * 76,
        b"\x30\x80\x24\x80\x04\x82",
        b"\x02\x05\x90\x06\0\xff\xff\xff\x7f",
        b"<!--",
        b"<p style='display:none'>",
        b"Return-Path: <>\r\n",
        b"550 5.1.1 <a@b.test>",
    ),
)


PAGE = b"<!--[if mso]><x><![endif]--><table><tr><td style='display:none'>a</td><td>status</td></tr></table>"
PDF_WORDS = (
    *(b"<<", b">>", b"[", b"]", b"(", b")", b"stream\n", b"endstream", b"endobj", b"1 0 obj", b"1 0 R ", b"/Kids"),
    *(
        b"/Rotate 90",
        b"/MediaBox[0 0 1e9 1]",
        b"/FT/Ch",
        b"/FT/Sig",
        b"/F 0",
        b"/AP",
        b"/Encrypt 1 0 R",
        b"/UserUnit 99",
    ),
)


def tiffs() -> list[bytes]:
    """Files of every supported format."""
    page = Image.new("1", (1728, 120), 255)
    page.paste(0, (100, 20, 600, 60))
    found = [fax_file(page, page, coding=coding) for coding in ("MH", "MR", "MMR")]
    found.append(fax_file(page, resolution=STANDARD))
    for options in ({"compression": name} for name in ("raw", "group3", "group4", "packbits", "tiff_lzw", "jpeg")):
        file = io.BytesIO()
        (page.convert("L") if options["compression"] == "jpeg" else page).save(file, "TIFF", **options)
        found.append(file.getvalue())
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "TIFF", save_all=True, append_images=[Image.new("RGBA", (9, 9))])
    return [*found, file.getvalue(), *FORMS.values()]


def pdfs() -> list[bytes]:
    """Forms and pictures."""
    with TemporaryDirectory() as name:
        form = filled_form(Path(name) / "form.pdf", pages=2).read_bytes()
        bare = filled_form(Path(name) / "bare.pdf", appearances=False).read_bytes()
    return [form, bare, saved(letter_f(mode="RGB"), "PDF"), b"junk\n" + form]


def pictures() -> list[bytes]:
    """Pictures of each kind."""
    return [octets for _, octets in PICTURES.values()]


def mails() -> list[bytes]:
    """Mails of every supported form."""
    rich = EmailMessage()
    rich["From"], rich["Subject"] = "Ä Ö <a@b.test>", "Grüße " * 20
    rich.set_content("plain ä\n")
    rich.add_alternative("<p>rich &amp; ä</p>", subtype="html")
    inner = EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("x")
    rich.add_attachment(inner)
    rich.add_attachment("text ä", filename="ü.txt")
    texts = [text.encode() for text in (QMAIL, EXIM, GMAIL, OPENSMTPD, DELAYED, MIXED, IN_BASE64)]
    wrapped = HEAD + WINMAIL.replace(b"base64", b"8bit") + tnef(outlook_file(SCAN[:2000]), outlook_file(b"x"))
    opaque = SMIME % (b"signed-data", b"") + signed(b"Content-Type: text/html\r\n\r\n<p hidden>x</p>y", [])
    embedded = HEAD + b"\r\n" + uuencoded(SCAN[:2000]) + yencoded(SCAN[:2000]) + LINES[:2000] + b"\r\n"
    page = HEAD + b"Content-Type: text/html\r\n\r\n" + PAGE
    whole = [
        make_mail(FAX[:3000], text="Hello"),
        rich.as_bytes(),
        dsn(group("delivered"), returned="<1@x>"),
        mdn("a/b; c"),
    ]
    return [*whole, *texts, wrapped, opaque, embedded, page]


def damaged(octets: bytes, rng: random.Random, change: Callable[[bytearray, random.Random], None]) -> bytes:
    """Return octets with a few changes."""
    data = bytearray(octets)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        kind = rng.randrange(6)
        at = rng.randrange(len(data) + 1)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at : at + rng.choice((1, 2, 16, 500))]
        elif kind == 2:
            start = rng.randrange(len(data) + 1)
            data[at:at] = data[start : start + rng.choice((1, 4, 12, 300))]
        elif kind == 3 and rng.random() < 0.2:
            del data[at:]
        else:
            change(data, rng)
    return bytes(data)


def change_field(data: bytearray, rng: random.Random) -> None:
    """Change the type, the number or the value of some tag."""
    tag = struct.pack("<H", rng.choice(TAGS))
    places = [at for at in range(8, len(data) - 12) if data[at : at + 2] == tag]
    if places:
        at = rng.choice(places)
        form, offset = rng.choice((("<H", 2), ("<I", 4), ("<I", 8), ("<H", 0)))
        number = rng.choice((*NUMBERS, *TAGS, rng.randrange(2**32)))
        struct.pack_into(form, data, at + offset, number % (2**16 if form == "<H" else 2**32))


def add_word(data: bytearray, rng: random.Random) -> None:
    """Put something in that means something."""
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.choice(WORDS) * rng.choice((1, 1, 1, 2, 50))


def check_sentence(error: Exception) -> None:
    """Check that a sentence is fit for a person."""
    result = str(error)
    assert result.isprintable(), repr(result)
    assert 10 < len(result) < 1000


def check_tiff(octets: bytes) -> None:
    """A file is read, or refused with a sentence."""
    try:
        for number, page in enumerate(read_pages(octets)):
            assert page.image.mode == "1"
            assert 50 <= page.x <= 2400
            assert 50 <= page.y <= 2400
            if number > 50:
                break
    except IntakeRefusedError as error:
        check_sentence(error)


def change_pdf(data: bytearray, rng: random.Random) -> None:
    """Put something in that means something, or change a number."""
    at = rng.randrange(len(data) + 1)
    if rng.random() < 0.5:
        data[at:at] = rng.choice(PDF_WORDS)
    else:
        digits = [place for place in range(at, min(len(data), at + 500)) if 48 <= data[place] < 58]
        for place in digits[:1]:
            data[place : place + 1] = str(rng.choice(NUMBERS)).encode()


def change_octets(data: bytearray, rng: random.Random) -> None:
    """Change a few octets of the beginning, where sizes and forms of pixels are."""
    for _ in range(rng.choice((1, 2, 4))):
        if data:
            data[rng.randrange(min(len(data), 120))] = rng.choice((0, 1, 255, rng.randrange(256)))


def check_pages(octets: bytes) -> None:
    """A document becomes fax pages and a thumbnail, or is refused with a sentence."""
    limits = Limits(pages=5)
    kind = detect_kind(octets[:HEAD_SIZE])
    try:
        for page in render_pages(octets, kind, STANDARD, limits.pages):
            assert (page.mode, page.width) == ("1", 1728)
    except IntakeRefusedError as error:
        check_sentence(error)
    if kind in {"pdf", *FORMATS}:
        with TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name, chdir(name):  # noqa: PTH112
            Path("document").write_bytes(octets)
            try:
                make_thumbnail({"path": "document", "kind": kind, "into": "small.png"}, limits)
            except IntakeRefusedError as error:
                check_sentence(error)


def check_mail(octets: bytes) -> None:
    """A mail is opened, or refused with a sentence; it writes nothing elsewhere."""
    limits = Limits()
    with TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name, chdir(name):  # noqa: PTH112
        folder = Path(name)
        (folder / "mail").write_bytes(octets)
        try:
            mail = opened_mail_from_json(read_mail({"path": "mail"}, limits), folder)
        except IntakeRefusedError as error:
            check_sentence(error)
            return
        assert {path.name for path in folder.iterdir()} == {"mail", *(part.path.name for part in mail.parts)}
        assert all(part.size == part.path.stat().st_size for part in mail.parts)
        assert all(part.name.isprintable() and "/" not in part.name for part in mail.parts)
        assert len(mail.text) <= limits.text
        assert {field for field, _ in mail.fields} <= KEPT_FIELDS
        assert mail.report is None or len(mail.report.identifiers) <= 50


def main(what: str, seconds: float, least: int, seed: int) -> None:
    rng = random.Random(seed)
    seeds, change, check = {
        "tiff": (tiffs(), change_field, check_tiff),
        "mime": (mails(), add_word, check_mail),
        "pdf": (pdfs(), change_pdf, check_pages),
        "picture": (pictures(), change_octets, check_pages),
    }[what]
    Image.MAX_IMAGE_PIXELS = Limits().pixels
    warnings.simplefilter("ignore")
    for octets in seeds:
        check(octets)
    ends, count = time.monotonic() + seconds, 0
    last = Path(sys.argv[5]) if len(sys.argv) > 5 else None
    while count < least or time.monotonic() < ends:
        octets = damaged(rng.choice(seeds), rng, change)
        if last is not None:
            last.write_bytes(octets)
        began = time.process_time()
        check(octets)
        took = time.process_time() - began
        assert took < SLOWEST, f"{took:.1f} s"
        count += 1
    print(f"{count} with seed {seed}")


if __name__ == "__main__":
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(2**32)
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), seed)
