"""Mail at fax.pop becomes pages, once: in a folder or a mail, or a notice."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from PIL import Image

from alerts.devices import sent_messages
from fax.faxes import (
    ALICE,
    COPIER,
    FAX,
    PAGES,
    fax_device,
    fax_file,
    files_in,
    make_mail,
    pages_of_pdf,
    same,
    store_incoming,
)
from fax.pages import text_page
from mailslot.service.pipeline import Done, Later, SetAside
from mailslot_plugins.fax import section
from mailslot_plugins.fax.pipeline import pipeline
from mailslot_plugins.fax.profile import STANDARD
from mailslot_plugins.fax.received_pages import read_pages

SCAN = Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what becomes of a fax; the whole way of one has tests on both."""
    return "asyncio"


async def test_pages_are_the_same(tmp_path: Path) -> None:
    home = tmp_path / "home"
    second = fax_file(text_page(3), resolution=STANDARD)
    async with fax_device(home) as device:
        mail = store_incoming(make_mail(FAX, second), tmp_path)
        assert await pipeline.handle(mail, device) == Done("printed")
        # After a crash it is handled again.
        assert await pipeline.handle(mail, device) == Done("printed")
        assert await device.spool.jobs() == []
        kept = await device.store("fax").get("mail:1")
    assert (kept["from"], kept["subject"], kept["pages"]) == (ALICE, "Fax from Alice", 3)
    [file] = files_in(home / "fax")
    assert f"Fax from {ALICE.replace('@', '_')} 2027-01-15" in file.name
    found = pages_of_pdf(file)
    assert all(same(one, other) for one, other in zip([*PAGES, text_page(3)], found, strict=True))


async def test_in_a_folder_as_tiff(tmp_path: Path) -> None:
    async with fax_device(
        tmp_path / "home", f'deliver_to = "folder {tmp_path}/out; folder other"\nformat = "tiff"'
    ) as device:
        mail = store_incoming(make_mail(FAX), tmp_path)
        outcome = await pipeline.handle(mail, device)
        assert isinstance(outcome, Later), "an absolute folder may be a disk that is not there"
        (tmp_path / "out").mkdir()
        assert await pipeline.handle(mail, device) == Done("printed")
    [other] = files_in(tmp_path / "home" / "other")
    [file] = files_in(tmp_path / "out")
    assert file.suffix == other.suffix == ".tif"
    pages = list(read_pages(file.read_bytes()))
    assert [(page.x, page.y) for page in pages] == [(204, 196)] * 2
    assert all(same(one, other.image) for one, other in zip(PAGES, pages, strict=True))


async def test_text_and_cover(tmp_path: Path) -> None:
    async with fax_device(tmp_path / "home", "cover = true") as device:
        assert await pipeline.handle(store_incoming(make_mail(text="Hello.\nBye."), tmp_path), device) == Done(
            "printed"
        )
        octets = make_mail(FAX, text="Please call.", fields={"Message-ID": "<2@example.test>"})
        assert await pipeline.handle(store_incoming(octets, tmp_path, 2), device) == Done("printed")
    found = [len(pages_of_pdf(file)) for file in files_in(tmp_path / "home" / "fax")]
    assert sorted(found) == [2, 4]


async def test_other_documents(tmp_path: Path) -> None:
    octets = make_mail(SCAN.read_bytes(), names=("a.tif",))
    async with fax_device(tmp_path / "home") as device:
        assert await pipeline.handle(store_incoming(octets, tmp_path), device) == Done("printed")
    [file] = files_in(tmp_path / "home" / "fax")
    [page] = pages_of_pdf(file)
    assert page.width == 1728


async def test_forwarded_once(tmp_path: Path) -> None:
    async with fax_device(tmp_path / "home", 'deliver_to = "mail bob@office.test"') as device:
        mail = store_incoming(make_mail(FAX), tmp_path)
        assert await pipeline.handle(mail, device) == Done("printed")
        assert await pipeline.handle(mail, device) == Done("printed")
        [message] = await sent_messages(device)
        loop = make_mail(FAX, fields={"Auto-Submitted": "auto-generated", "Message-ID": "<2@x>"})
        assert await pipeline.handle(store_incoming(loop, tmp_path, 2), device) == SetAside(
            "Not printed, since it was sent automatically."
        )
        assert len(await device.spool.jobs()) == 1
    assert (message["From"], message["To"]) == (f"Copier <{COPIER}>", "bob@office.test")
    assert message["Auto-Submitted"] == "auto-generated"
    [part] = message.iter_attachments()
    path = tmp_path / "x.pdf"
    path.write_bytes(part.get_content())
    assert all(same(one, other) for one, other in zip(PAGES, pages_of_pdf(path), strict=True))


async def test_never_forwarded_to_itself(tmp_path: Path) -> None:
    async with fax_device(tmp_path / "home", f'deliver_to = "mail {COPIER.upper()}"') as device:
        outcome = await pipeline.handle(store_incoming(make_mail(FAX), tmp_path), device)
        assert isinstance(outcome, Later)
        assert "own address" in outcome.why
        assert await device.spool.jobs() == []


def with_compression(code: int) -> bytes:
    [first, *_] = [fax_file(Image.new("1", (1728, 20), 255))]
    at = first.index(struct.pack("<HHII", 259, 3, 1, 3))
    return first[:at] + struct.pack("<HHII", 259, 3, 1, code) + first[at + 12 :]


def grown(octets: bytes, **values: int) -> bytes:
    """A file whose first page has other values."""
    tags = {"width": 256, "length": 257, "rows": 278}
    for name, value in values.items():
        at = next(at for at in range(10, 300) if octets[at : at + 4] == struct.pack("<HH", tags[name], 4))
        octets = octets[: at + 8] + struct.pack("<I", value) + octets[at + 12 :]
    return octets


LINE = fax_file(Image.new("1", (1728, 1), 255))


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (make_mail(fax_file(*[Image.new("1", (1728, 1), 255)] * 21)), "It has more than 20 pages."),
        (make_mail(grown(LINE, length=2**31, rows=2**31)), "is invalid"),
        (make_mail(grown(LINE, width=40_000, length=40_000)), "its size, 40000 × 40000, is invalid"),
        (make_mail(FAX, b"II*\0\x08\0\0\0garbage"), "'fax1.tif' cannot be printed. Page 1"),
        (
            make_mail(with_compression(9), names=("j.tif",)),
            "'j.tif' cannot be printed. Page 1 of the fax is in profile J",
        ),
        (make_mail(with_compression(34665)), "profile M"),
        (
            make_mail(b"PK\3\4 a zip", names=("../../etc/x.docx",)),
            "'x.docx' cannot be printed: its kind is not supported",
        ),
        (make_mail(), "It contains nothing to print."),
    ],
    ids=["pages", "length", "size", "second broken", "profile J", "profile M", "zip", "empty"],
)
async def test_an_unprintable_fax_gives_a_notice(tmp_path: Path, octets: bytes, why: str) -> None:
    async with fax_device(tmp_path / "home", "receipts = true\nanswer_failures = true\nmax_pages = 20") as device:
        mail = store_incoming(octets, tmp_path)
        for _ in range(2):
            outcome = await pipeline.handle(mail, device)
            assert isinstance(outcome, SetAside)
            assert why in outcome.reason
        assert await device.spool.jobs() == [], "without a list of allowed senders nobody is answered"
        kept = await device.store("fax").get("mail:1")
    assert kept["closed"]
    [notice] = files_in(tmp_path / "home" / "fax")
    assert "Fax not printed" in notice.name
    assert len(pages_of_pdf(notice)) == 1


def test_the_default_limit_of_pages() -> None:
    assert section.SECTION.with_defaults({})["max_pages"] == 200


async def test_a_mail_that_cannot_be_opened(tmp_path: Path) -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(500))
    octets = make_mail().split(b"\r\n\r\n")[0] + b"\r\n\r\n"
    octets = octets.replace(b"Content-Type", b"X-Was") + deep
    octets = b"From: x@y\nContent-Type: multipart/mixed; boundary=a\n\n--a\n" + deep
    async with fax_device(tmp_path / "home") as device:
        assert await pipeline.handle(store_incoming(octets, tmp_path), device) == SetAside(
            "The mail is nested more than 10 levels deep."
        )
        assert len(files_in(tmp_path / "home" / "fax")) == 1
    async with fax_device(tmp_path / "other", f'allowed_senders = "{ALICE}"') as device:
        assert isinstance(await pipeline.handle(store_incoming(octets, tmp_path), device), SetAside)
        assert files_in(tmp_path / "other" / "fax") == []


@pytest.mark.parametrize(
    ("settings", "fields", "taken"),
    [
        ('allowed_senders = "alice@example.test"', {}, True),
        ('allowed_senders = "@example.test"', {}, True),
        ('allowed_senders = "@example.test"', {"From": "Alice@EXAMPLE.test"}, True),
        ('allowed_senders = "@example.test"', {"From": "bob@sub.example.test"}, False),
        ('allowed_senders = "@example.test"', {"Return-Path": "<evil@evil.test>"}, False),
        ('allowed_senders = "@example.test"', {"From": "evil@evil.test"}, False),
        ('allowed_senders = "@example.test"', {"From": "alice@example.test, evil@evil.test"}, False),
        ('allowed_senders = "@example.test"', {"From": ""}, False),
        ('rejected_senders = "@example.test"', {}, False),
        ('rejected_senders = "evil@evil.test"', {"Return-Path": "<Evil@evil.test>"}, False),
        ('rejected_senders = "evil@evil.test"', {}, True),
        ('allowed_senders = "@example.test"\nrejected_senders = "alice@example.test"', {}, False),
    ],
)
async def test_whose_faxes_are_accepted(tmp_path: Path, settings: str, fields: dict[str, str], taken: bool) -> None:
    async with fax_device(tmp_path / "home", f"{settings}\nreceipts = true\nanswer_failures = true") as device:
        outcome = await pipeline.handle(store_incoming(make_mail(FAX, fields=fields), tmp_path), device)
        assert isinstance(outcome, Done)
        assert outcome.note.startswith("printed" if taken else "not taken: its sender is")
        assert await device.spool.jobs() == []
    assert len(files_in(tmp_path / "home" / "fax")) == taken


async def test_a_failed_fax_can_be_handled_again(tmp_path: Path) -> None:
    async with fax_device(tmp_path / "home", f'deliver_to = "folder fax; printer folder {tmp_path}/gone"') as device:
        outcome = await pipeline.handle(store_incoming(make_mail(FAX), tmp_path), device)
        assert isinstance(outcome, Later)
        (tmp_path / "gone").mkdir()
        assert await pipeline.handle(store_incoming(make_mail(FAX), tmp_path), device) == Done("printed")
    assert len(files_in(tmp_path / "home" / "fax")) == len(files_in(tmp_path / "gone")) == 1


async def test_a_missing_file(tmp_path: Path) -> None:
    async with fax_device(tmp_path / "home") as device:
        mail = store_incoming(make_mail(FAX), tmp_path)
        assert mail.path is not None
        mail.path.unlink()
        assert isinstance(await pipeline.handle(mail, device), SetAside)
