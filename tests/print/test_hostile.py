"""Hostile mails: set aside with a reason, and the next mail is printed."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pypdfium2
import pytest

from print.sample_mails import SCAN, handle_due, make_mail, run_device, scan, sent_messages
from printers.test_conversions import bomb_png, huge_jpeg

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD: Final = b"Return-Path: <alice@example.com>\r\nFrom: alice@example.com\r\nMessage-ID: <x@example.com>\r\n"


def nested(depth: int) -> bytes:
    inner = b"Content-Type: application/pdf\r\n\r\n" + SCAN
    for level in range(depth):
        mark = b"b%d" % level
        inner = b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n%b\r\n--%b--\r\n" % (
            mark,
            mark,
            inner,
            mark,
        )
    return HEAD + inner


def forwarded(depth: int) -> bytes:
    inner = HEAD + b"\r\nx"
    for _ in range(depth):
        inner = HEAD + b"Content-Type: message/rfc822\r\n\r\n" + inner
    return inner


def many_parts(count: int) -> bytes:
    return HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * count + b"--b--\r\n"


def many_pages() -> bytes:
    """A PDF whose tree names the same page a hundred thousand times."""
    kids = b"3 0 R " * 100_000
    body = (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Count 100000/Kids[" + kids + b"]>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R>>\n"
    )
    return make_mail(("many.pdf", body, "application/pdf")).as_bytes()


def attached(name: str, octets: bytes, declared: str) -> bytes:
    return make_mail((name, octets, declared)).as_bytes()


HOSTILE: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "nested a thousand deep": (lambda: nested(1000), "more than 10 levels"),
    "forwarded a thousand times": (lambda: forwarded(1000), "nested"),
    "twenty thousand parts": (lambda: many_parts(20_000), "more than 100 parts"),
    "twenty thousand addresses": (
        lambda: b"From: " + b"alice@example.com, " * 12_000 + b"x@y\r\n" + HEAD[33:] + b"\r\nx",
        "not have exactly one sender",
    ),
    "twenty thousand encoded words": (
        lambda: HEAD + b"Subject: " + b"=?utf-8?q?a?= " * 12_000 + b"\r\nContent-Type: x/y\r\n\r\nx",
        "Files of this kind are not printed",
    ),
    "a header of megabytes": (lambda: HEAD + b"X-A: " + b"a" * 3_000_000 + b"\r\n\r\nx", "header has more than"),
    "comments in comments": (
        lambda: b"From: " + b"(" * 50_000 + b"alice@example.com\r\n\r\nx",
        "sender",
    ),
    "an image of 3.6 gigapixels": (lambda: attached("a.png", bomb_png(), "image/png"), "pixels"),
    "a jpeg that claims to be": (lambda: attached("a.jpg", huge_jpeg(), "image/jpeg"), "pixels"),
    "a hundred thousand pages": (many_pages, "100,000 pages, more than 200"),
    "base64 that is none": (
        lambda: HEAD + b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"%&!?" * 9000,
        "declared as base64",
    ),
    "PJL as text": (
        lambda: attached("a.txt", b"Hello\n\x1b%-12345X@PJL SET X=1\n", "text/plain"),
        "PJL is not printed here",
    ),
    "PostScript as PDF": (lambda: attached("a.pdf", b"%!PS\n%PDF-1.4\n", "application/pdf"), "PostScript is not"),
    "PDF behind a language of printers": (
        lambda: attached("a.pdf", b"x\x1b%-12345X@PJL ENTER LANGUAGE=PCL\n" + SCAN, "application/pdf"),
        "of this kind cannot be printed",
    ),
    "a piece of a mail": (
        lambda: HEAD + b'Content-Type: message/partial; id="x"; number=1; total=2\r\n\r\nx',
        "fragment of a larger one",
    ),
    "encrypted": (
        lambda: (
            HEAD + b"Content-Type: application/pkcs7-mime\r\n\r\n" + bytes.fromhex("300f06092a864886f70d010703a0023000")
        ),
        "encrypted",
    ),
    "our own mail": (
        lambda: HEAD.replace(b"alice@", b"printer@") + b"\r\nx",
        "from this device itself",
    ),
    "a bounce": (lambda: HEAD.replace(b"<alice@example.com>", b"<>") + b"\r\nx", "null sender"),
    "nothing": (lambda: b"\r\n", "not have exactly one sender"),
    "noise": (lambda: base64.b64decode(b"//79gIAA") * 5000, "not have exactly one sender"),
}


@pytest.fixture(scope="module", params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """One event loop is enough: hostile mails are opened in another process."""
    return str(request.param)


def count_own() -> tuple[int, int]:
    """How many files this process has open, and how many children it has."""
    children = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    return len(list(Path("/proc/self/fd").iterdir())), len(children.split())


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_mail_is_set_aside_and_others_are_printed(name: str, tmp_path: Path) -> None:
    make, why = HOSTILE[name]
    out = tmp_path / "out"
    out.mkdir()
    async with run_device(tmp_path / "home", f"folder {out}") as device:
        # The process that all others are forked from stays for a while, and may end in between.
        await handle_due(device, b"\r\nnobody sent this")
        files, children = count_own()
        hostile, good = await handle_due(device, make(), make_mail(scan(), number=2))
        assert (hostile.outcome, good.outcome) == ("set aside", "done"), hostile.note
        assert why in hostile.note
        assert len(hostile.note) < 1000
        assert len(await sent_messages(device)) <= 1
        assert [*map(max, count_own(), (files, children))] == [files, children]
        assert not list((device.home / "print").iterdir())
    assert [path.name.partition(" ")[2] for path in out.iterdir()] == ["scan.pdf"]


async def test_path_traversal_in_names(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    names = ["../../../etc/passwd", "..\\..\\x.pdf", "/abs.pdf", "a\u202efdp.exe", "x" * 5000, "\r\nX: y"]
    mail = b"".join(
        [
            HEAD,
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
            *(
                b"--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment;\r\n"
                b" filename*=utf-8''"
                + _percent(name)
                + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                + base64.encodebytes(SCAN).replace(b"\n", b"\r\n")
                for name in names
            ),
            b"--b--\r\n",
        ]
    )
    async with run_device(tmp_path / "home", f"folder {out}") as device:
        [found] = await handle_due(device, mail)
    assert found.note == f"{len(names)} documents were printed."
    assert len(list(out.iterdir())) == len(names)
    assert all(path.is_file() and len(os.fsencode(path.name)) <= 255 for path in out.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "out"]  # noqa: ASYNC240 - of a test


def _percent(name: str) -> bytes:
    return "".join(f"%{octet:02x}" for octet in name.encode()).encode()


def test_the_page_bomb_has_many_pages() -> None:
    part = many_pages()
    assert len(part) > 500_000
    octets = base64.b64decode(part.partition(b"base64")[2].split(b"\n\n", 1)[1].split(b"--")[0])
    with pypdfium2.PdfDocument(octets) as document:
        assert len(document) == 100_000
