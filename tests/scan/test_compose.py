"""The mails of a scan: senders, names, and splitting."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from mailslot.errors import InputError
from mailslot.slots.records import Records
from mailslot.slots.section import DEVICE
from mailslot.spool.errors import SpoolError
from mailslot.spool.spool import Spool
from mailslot_plugins.scan.compose import SIZE_MARGIN, compose
from mailslot_plugins.scan.document import inspect_file
from mailslot_plugins.scan.enqueue import enqueue_scan
from mailslot_plugins.scan.prepare import current_size_limit
from mailslot_plugins.scan.split import TooLargeError
from mailslot_plugins.sending.account import sending_settings
from mailslot_plugins.sending.recipients import parse_mailbox, parse_mailboxes
from scan.sample_documents import (
    ACCOUNT,
    attached,
    mails,
    noise,
    pdf,
    pdf_pages,
    pdf_text,
    scan_to_alice,
    tiff,
    tiff_pages,
)

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.service.device import Device

SetScan = Callable[..., None]


async def test_sender_and_reply_to(device: Device, tmp_path: Path) -> None:
    path = pdf(tmp_path / "a.pdf", 1)
    scan_message = await scan_to_alice(
        device, [inspect_file(path)], user=parse_mailbox("Zoë <zoe@example.com>", "user's")
    )
    await enqueue_scan(
        device.spool, scan_message, await compose(scan_message, None, tmp_path, may_split=False), lifetime=60
    )
    [mail] = await mails(device)
    assert mail["From"] == ACCOUNT
    assert mail["Reply-To"] == "Zoë <zoe@example.com>"
    assert mail["To"] == "alice@example.com"
    [job] = await device.spool.jobs()
    assert (job.sender, [each.address for each in job.recipients]) == (ACCOUNT, ["alice@example.com"])
    assert job.message_id == mail["Message-ID"]
    assert attached(mail) == {"a.pdf": path.read_bytes()}


async def test_names_and_copies(device: Device, home: Path, tmp_path: Path) -> None:
    records = Records(home)
    records.settings.change_section(DEVICE, {"name": "Copier 2", "location": "Floor/3", "serial_number": "X1"})
    records.change("smtp", {"sender_name": "Scans of the office"}, {})
    await device.refresh()
    scan_message = await scan_to_alice(
        device,
        [inspect_file(tiff(tmp_path / "SCAN0001", 1)), inspect_file(pdf(tmp_path / "b.pdf", 1))],
        cc=parse_mailboxes(["bob@example.com"]),
        subject="{device} {serial} {location} #{counter:3}",
        name="{location}_{page}_{name}",
        text="Grüße",
    )
    await enqueue_scan(
        device.spool, scan_message, await compose(scan_message, None, tmp_path, may_split=False), lifetime=60
    )
    [mail] = await mails(device)
    assert mail["From"] == f"Scans of the office <{ACCOUNT}>"
    assert mail["Subject"] == "Copier 2 X1 Floor/3 #001"
    assert mail["Cc"] == "bob@example.com"
    assert list(attached(mail)) == ["Floor-3_1_SCAN0001.tif", "Floor-3_2_b.pdf"]
    body = mail.get_body()
    assert body is not None
    assert body.get_content().strip() == "Grüße"
    assert [part.get_content_type() for part in mail.iter_attachments()] == ["image/tiff", "application/pdf"]


async def test_subject_of_2000_characters_in_mixed_scripts(device: Device, tmp_path: Path) -> None:
    subject = ("Rechnung Ü 請求書 счёт فاتورة 🖨️ e\u0301 " * 60)[:2000].strip()
    scan_message = await scan_to_alice(device, [inspect_file(pdf(tmp_path / "a.pdf", 1))], subject=subject)
    await enqueue_scan(
        device.spool, scan_message, await compose(scan_message, None, tmp_path, may_split=False), lifetime=60
    )
    [mail] = await mails(device)
    assert mail["Subject"] == subject
    [job] = await device.spool.jobs()
    assert job.subject == subject


async def test_too_large_is_refused_with_the_numbers(device: Device, tmp_path: Path) -> None:
    scan_message = await scan_to_alice(device, [inspect_file(pdf(tmp_path / "a.pdf", 10, filler=30_000))])
    with pytest.raises(TooLargeError, match=r"The scan has 0\.3 MB and would be a mail of 0\.4 MB; .* at most 0\.1 MB"):
        await compose(scan_message, 100_000, tmp_path, may_split=False)


async def split_into_mails(device: Device, folder: Path, limit: int, *paths: Path) -> list[dict[str, bytes]]:
    scan_message = await scan_to_alice(
        device, [inspect_file(path) for path in paths], subject="Scan", user=parse_mailbox("u@example.com")
    )
    composed = await compose(scan_message, limit, folder, may_split=True)
    assert all(mail.message.size <= limit - SIZE_MARGIN for mail in composed)
    await enqueue_scan(device.spool, scan_message, composed, lifetime=60)
    found = await mails(device)
    assert [mail["Subject"] for mail in found] == [f"Scan ({n}/{len(found)})" for n in range(1, len(found) + 1)]
    assert {mail["Reply-To"] for mail in found} == {"u@example.com"}
    assert len({mail["Message-ID"] for mail in found}) == len(found)
    assert all(mail.get_content_type() == "multipart/mixed" for mail in found)
    return [attached(mail) for mail in found]


def pages_of(folder: Path, found: list[dict[str, bytes]], count: Callable[[Path], int]) -> list[int]:
    counted = []
    for number, mail in enumerate(found):
        for octets in mail.values():
            path = folder / f"read{number}"
            path.write_bytes(octets)
            counted.append(count(path))
    return counted


async def test_pdf_over_several_mails(device: Device, tmp_path: Path) -> None:
    found = await split_into_mails(device, tmp_path, 60_000, pdf(tmp_path / "a.pdf", 20, filler=10_000))
    assert len(found) > 3
    assert sum(pages_of(tmp_path, found, pdf_pages)) == 20
    assert [name for mail in found for name in mail] == [
        f"a ({n} of {len(found)}).pdf" for n in range(1, len(found) + 1)
    ]
    texts = []
    for mail in found:
        for octets in mail.values():
            (tmp_path / "part.pdf").write_bytes(octets)
            texts += pdf_text(tmp_path / "part.pdf")
    assert texts == [f"Page {number}" for number in range(1, 21)]


async def test_tiff_over_several_mails(device: Device, tmp_path: Path) -> None:
    found = await split_into_mails(device, tmp_path, 100_000, tiff(tmp_path / "a.tif", 10))
    assert len(found) > 2
    assert sum(pages_of(tmp_path, found, tiff_pages)) == 10


async def test_several_files_over_several_mails(device: Device, tmp_path: Path) -> None:
    paths = []
    for number in range(6):
        paths.append(tmp_path / f"{number}.jpg")
        noise(number).save(paths[-1], "JPEG", quality=95)
    whole = pdf(tmp_path / "long.pdf", 8, filler=10_000)
    found = await split_into_mails(device, tmp_path, 70_000, *paths[:3], whole, *paths[3:])
    got = {name: octets for mail in found for name, octets in mail.items()}
    assert all(got[path.name] == path.read_bytes() for path in paths)
    names = [name for mail in found for name in mail]
    assert [int(re.match(r"\d|long", name)[0].replace("long", "9")) for name in names] == sorted(  # type: ignore[index]
        [0, 1, 2], key=int
    ) + [9] * (len(names) - 6) + [3, 4, 5]
    assert len(found) < len(names)


async def test_a_single_page_that_is_too_large_sends_nothing(device: Device, tmp_path: Path) -> None:
    scan_message = await scan_to_alice(device, [inspect_file(pdf(tmp_path / "a.pdf", 3, filler=90_000))])
    with pytest.raises(TooLargeError, match=r"one of its pages has 9\d\.\d kB"):
        await compose(scan_message, 60_000, tmp_path, may_split=True)
    assert await device.spool.jobs() == []


async def test_too_many_mails(device: Device, tmp_path: Path) -> None:
    scan_message = await scan_to_alice(device, [inspect_file(pdf(tmp_path / "a.pdf", 120, filler=8_000))])
    with pytest.raises(TooLargeError, match="would take 120 mails"):
        await compose(scan_message, 20_000, tmp_path, may_split=True)


async def test_two_gigabytes_are_refused_at_once(device: Device, tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    path.write_bytes(b"\xff\xd8\xff")
    os.truncate(path, 2_000_000_000)
    scan_message = await scan_to_alice(device, [inspect_file(path)])
    with pytest.raises(TooLargeError, match=r"2\.0 GB and would be a mail of 2\.7 GB; .* 25\.0 MB"):
        await compose(
            scan_message, await current_size_limit(device, await sending_settings(device)), tmp_path, may_split=False
        )
    with pytest.raises(TooLargeError, match="only PDF and TIFF"):
        await compose(scan_message, 25_000_000, tmp_path, may_split=True)


async def test_all_mails_of_a_scan_or_none(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second mail finds the spool full."""
    scan_message = await scan_to_alice(device, [inspect_file(tiff(tmp_path / "a.tif", 10))])
    composed = await compose(scan_message, 100_000, tmp_path, may_split=True)
    accept = Spool.accept

    async def full(self: Spool, *arguments: object) -> object:
        if await self.jobs():
            raise SpoolError("The spool is full.", cause="spool_full", retryable=True)
        return await accept(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Spool, "accept", full)
    with pytest.raises(SpoolError, match=r"^The spool is full\.$"):
        await enqueue_scan(device.spool, scan_message, composed, lifetime=60)
    assert {job.state for job in await device.spool.jobs()} == {"cancelled"}
    # With a key, what was accepted stays, and the rest comes when it is tried again.
    with pytest.raises(SpoolError):
        await enqueue_scan(device.spool, scan_message, composed, lifetime=60, key="k")
    monkeypatch.undo()
    jobs = await enqueue_scan(device.spool, scan_message, composed, lifetime=60, key="k")
    assert jobs == await enqueue_scan(device.spool, scan_message, composed, lifetime=60, key="k")
    assert len(jobs) == len(composed)


async def test_no_recipients_and_too_many(device: Device, set_scan: SetScan, tmp_path: Path) -> None:
    document = inspect_file(pdf(tmp_path / "a.pdf", 1))
    with pytest.raises(InputError, match="has no recipients"):
        await scan_to_alice(device, [document], to=())
    set_scan(max_recipients=2)
    await device.refresh()
    with pytest.raises(InputError, match="3 recipients, and at most 2"):
        await scan_to_alice(device, [document], to=parse_mailboxes([f"{n}@example.com" for n in "abc"]))


@pytest.mark.parametrize("missing", ["server", "sender_address"])
async def test_not_configured(device: Device, home: Path, missing: str) -> None:
    Records(home).change("smtp", {missing: None}, {})
    with pytest.raises(InputError, match=f"{missing} of network.smtp is not set") as caught:
        await sending_settings(device)
    assert caught.value.cause == "not_configured"
