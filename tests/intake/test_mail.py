"""Ordinary and hostile mails, opened in the confined process."""

from __future__ import annotations

import base64
import os
import random
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from mailslot_plugins.intake import process
from mailslot_plugins.intake.limits import Limits
from mailslot_plugins.intake.mail import OpenedMail, open_mail
from mailslot_plugins.intake.process import IntakeError

if TYPE_CHECKING:
    from collections.abc import Iterator

SCAN = (Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf").read_bytes()

Opener = Any


@pytest.fixture
def open_confined(tmp_path: Path) -> Opener:
    async def open_(octets: bytes, limits: Limits | None = None) -> OpenedMail:
        path = tmp_path / "mail"
        path.write_bytes(octets)
        folder = tmp_path / "parts"
        folder.mkdir(exist_ok=True)
        return await open_mail(path, folder, limits)

    return open_


def make_mail() -> EmailMessage:
    message = EmailMessage()
    message["Return-Path"] = "<alice@example.com>"
    message["From"] = "Alice Müller <alice@example.com>"
    message["Subject"] = "Grüße aus 東京"
    message["Message-ID"] = "<1@example.com>"
    message.set_content("Please print this.\n")
    return message


def nested(depth: int) -> bytes:
    inner = "Content-Type: text/plain\n\nx"
    for level in range(depth):
        inner = f"Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n{inner}\n--b{level}--\n"
    return inner.encode()


def with_part(octets: bytes, declared: str = "application/pdf", name: str = "scan.pdf") -> bytes:
    message = make_mail()
    kind, _, subkind = declared.partition("/")
    message.add_attachment(octets, maintype=kind, subtype=subkind, filename=name)
    return message.as_bytes()


async def test_a_letter_with_a_scan(open_confined: Opener) -> None:
    mail = await open_confined(with_part(SCAN))
    assert mail.senders == ("alice@example.com",)
    assert mail.return_paths == ("alice@example.com",)
    assert mail.subject == "Grüße aus 東京"
    assert mail.message_id == "<1@example.com>"
    assert mail.text.strip() == "Please print this."
    [part] = mail.parts
    assert (part.kind, part.declared, part.name, part.size) == ("pdf", "application/pdf", "scan.pdf", len(SCAN))
    assert part.path.read_bytes() == SCAN
    assert mail.defects == ()


async def test_html_alone_becomes_text(open_confined: Opener) -> None:
    message = make_mail()
    message.set_content(
        "<html><head><title>no</title><style>p{}</style></head><body><p>One &amp; <b>two</b></p>"
        "<script>alert(1)</script><img src='http://example.com/x.png'>three<br>four</body></html>",
        subtype="html",
    )
    mail = await open_confined(message.as_bytes())
    assert mail.text.split("\n") == ["One & two", "three", "four"]


async def test_the_plain_alternative_is_taken(open_confined: Opener) -> None:
    message = make_mail()
    message.add_alternative("<p>rich</p>", subtype="html")
    mail = await open_confined(message.as_bytes())
    assert mail.text.strip() == "Please print this."
    assert mail.parts == ()


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (b"%PDF-1.4\n", "pdf"),
        (b"junk\n%PDF-1.4\n", "pdf"),
        (b"\x1b%-12345X@PJL\n%PDF-1.4\n", "pjl"),
        (b"x\x1b%-12345X@PJL\n%PDF-1.4\n", "other"),
        (b"%!PS-Adobe-3.0\n%PDF-1.4\n", "postscript"),
        (b"\x04%!PS", "postscript"),
        (b"hello \x1b%-12345X@PJL SET", "pjl"),
        (b"hello\n%!PS", "pjl"),
        (b"II*\0\x08\0\0\0", "tiff"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"plain text\r\n", "text"),
        ("Grüße".encode(), "text"),
        (b"<!DOCTYPE html><p>", "html"),
        (b"MZ\0\0", "other"),
        (b"PK\x03\x04\0", "other"),
        (b"", "text"),
    ],
)
async def test_the_content_decides_the_kind(open_confined: Opener, octets: bytes, kind: str) -> None:
    mail = await open_confined(with_part(octets, "image/jpeg", "photo.jpg"))
    [part] = mail.parts
    assert part.kind == kind
    assert part.declared == "image/jpeg"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        (".bashrc", "bashrc"),
        ("invoice\u202efdp.exe", "invoice fdp.exe"),
        ("a:b*c?.pdf", "a b c .pdf"),
        ("Stra\u00dfe a\u0308ndern.pdf", "Straße ändern.pdf"),
        ("x" * 500 + ".pdf", "x" * 116 + ".pdf"),
        ("..", ""),
    ],
)
async def test_names_are_for_people_only(open_confined: Opener, name: str, shown: str) -> None:
    mail = await open_confined(with_part(SCAN, name=name))
    [part] = mail.parts
    assert part.name == shown
    assert part.path.name == "000.bin"


@contextmanager
def little_work() -> Iterator[None]:
    """See to it that the processes which do it take no more than some seconds of a processor."""
    before, began = forked()
    yield
    server, spent = forked()
    assert spent - (began if server == before else 0) < 20


def forked() -> tuple[int, float]:
    """The process that forks, and the processor's seconds that its tasks have taken so far.

    Of this process' children there is no telling: what an earlier such process has taken for all of its tasks counts
    when its end is noticed, which may be in the middle of any test.
    """
    server = process._server._process
    if server is None or server.poll() is not None:
        return 0, 0.0
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return server.pid, sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (nested(12), "more than 10 levels"),
        (nested(5000), "more than 10 levels"),
        (b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 50_000 + b"--b--", "more than 100 parts"),
        (b"X: " + b"a" * 5_000_000 + b"\n\nx", "header has more than"),
        (b"X: a\n" * 20_000 + b"\nx", "too many lines"),
        (b"Content-Type: message/partial; id=a; number=1; total=2\n\nx", "a fragment of a larger one"),
        (b"Content-Type: multipart/encrypted; boundary=b\n\n--b\n\nx\n--b--", "encrypted"),
        (
            b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/pdf\n"
            b"Content-Transfer-Encoding: base64\n\n" + b"!?" * 1000 + b"\n--b--",
            "declared as base64",
        ),
    ],
)
async def test_set_aside_with_its_reason(open_confined: Opener, octets: bytes, says: str) -> None:
    with little_work(), pytest.raises(IntakeError, match=says):
        await open_confined(octets)


@pytest.mark.parametrize(
    "octets",
    [
        b"From: " + b",".join(b"a%d@example.com" % number for number in range(12_000)) + b"\n\nx",
        b"Subject: " + b" ".join([b"=?utf-8?q?x?="] * 15_000) + b"\n\nx",
        b"From: " + b"(" * 200_000 + b"\n\nx",
        b"From: " + b'"' * 9999 + b"\n\nx",
        b"Content-Type: text/plain; charset=nobody-knows\n\n\xff\xfe",
        b"Content-Type: text/plain; " + b"; ".join(b"a*%d=x" % number for number in range(10_000)) + b"\n\nx",
        b"Content-Type: multipart/mixed\n\nno boundary",
        b"Content-Type: multipart/mixed; boundary=b\nContent-Type: text/plain\n\n--b\n\nx\n--b--",
        b"Content-Transfer-Encoding: quoted-printable\n\n=\n=\n=",
        b"From: a@b\r\rSubject: x\r\r\r\rtext",
        b"",
        b"\0" * 1000,
        bytes(range(256)) * 500,
    ],
)
async def test_odd_but_opened(open_confined: Opener, octets: bytes) -> None:
    with little_work():
        mail = await open_confined(octets)
    assert len(mail.senders) <= 50


async def test_too_much_memory_is_refused(open_confined: Opener) -> None:
    body = base64.encodebytes(bytes(60_000_000))
    octets = b"Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n" + body
    with pytest.raises(IntakeError, match=r"memory|crashed"):
        await open_confined(octets, Limits(memory=150 << 20))


async def test_too_large_a_file_is_refused(open_confined: Opener) -> None:
    with pytest.raises(IntakeError, match="large"):
        await open_confined(with_part(SCAN), Limits(file_size=100_000))


async def test_too_much_time_is_refused_and_ends_the_process(open_confined: Opener) -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 3_000_000 + b"--b--"
    with anyio.fail_after(120), pytest.raises(IntakeError, match="too long"):
        await open_confined(octets, Limits(seconds=1, memory=4 << 30, parts=10_000_000))


async def test_cancellation_ends_the_process(open_confined: Opener) -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 3_000_000 + b"--b--"
    with anyio.move_on_after(0.5) as scope:
        await open_confined(octets, Limits(memory=4 << 30, parts=10_000_000))
    assert scope.cancelled_caught


async def test_cancellation_during_the_start_ends_the_process(open_confined: Opener) -> None:
    before = children()
    for steps in range(12):
        async with anyio.create_task_group() as group:
            group.start_soon(open_confined, bytes(make_mail()))
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert children() == before, steps


def children() -> set[str]:
    return {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


async def test_garbage_of_all_kinds(open_confined: Opener) -> None:
    """Mails with octets changed at random are opened or set aside, and nothing else happens."""
    rng = random.Random(11)
    whole = with_part(SCAN[:3000])
    for _ in range(25):
        octets = bytearray(whole)
        for _ in range(rng.randrange(1, 40)):
            octets[rng.randrange(len(octets))] = rng.randrange(256)
        try:
            mail = await open_confined(bytes(octets))
        except IntakeError as error:
            assert str(error).endswith(".")  # noqa: PT017 - either of two outcomes is right
        else:
            assert all(part.path.exists() for part in mail.parts)
