"""The documents in a fetched mail: found in the confined process, and made safe outside of it."""

from __future__ import annotations

import base64
import os
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.errors import InputError
from mailslot.message import filename
from mailslot.spool.spool import Spool
from mailslot_plugins.intake import mail_documents
from mailslot_plugins.intake.limits import MAX_DOCUMENTS, Limits
from mailslot_plugins.intake.mail_documents import take_documents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

    from mailslot.spool.incoming import Incoming
    from mailslot.spool.ledger import Ledger
    from mailslot_plugins.intake.mail_documents import MailDocument

FLAT = 3_000_000
"""Octets that the service may take for a while, whatever a mail has."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what becomes of a mail; the processes that read it have tests on both."""
    return "asyncio"


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with Spool(tmp_path / "home") as spool:
        yield spool.ledger


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "parts"
    folder.mkdir()
    return folder


async def receive(ledger: Ledger, octets: bytes) -> Incoming:
    async with ledger.receive("fax-pop", "uid-1") as incoming:
        await incoming.write(octets)
    [mail] = await ledger.mails()
    return mail


async def documents(
    ledger: Ledger, folder: Path, octets: bytes, wanted: Collection[int] | None = None
) -> list[MailDocument]:
    return await take_documents(ledger, await receive(ledger, octets), folder, wanted)


def multipart(*parts: bytes) -> bytes:
    body = b"".join(b"--b\r\n%s\r\n" % part for part in parts)
    return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body + b"--b--\r\n"


async def test_only_what_is_wanted_is_written(ledger: Ledger, folder: Path) -> None:
    inner = b"Subject: inner\r\nContent-Type: application/pdf\r\n\r\n%PDF-1.4 inner\r\n"
    parts = (
        b"Content-Type: text/plain\r\n\r\nA text.",
        b"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(b"%PDF-1.4 outer"),
        b"Content-Type: message/rfc822\r\n\r\n" + inner,
        b"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nNotes.",
    )
    found = await documents(ledger, folder, multipart(*parts), (2,))
    assert [(each.name, each.content_type, each.size) for each in found] == [
        ("a.pdf", "application/pdf", 14),
        ("document-2.eml", "message/rfc822", len(inner)),
        ("document-3.txt", "text/plain", 6),
    ]
    assert found[0].head == b"%PDF-1.4"
    # An attached mail is one document, as it came.
    assert [each.name async for each in anyio.Path(folder).iterdir()] == [found[1].path.name]
    assert await anyio.Path(found[1].path).read_bytes() == inner


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (".bash_profile", "bash_profile"),
        ("../../.ssh/. .authorized_keys", "authorized_keys"),
        (".CON", "_CON"),
        ("...", "attachment"),
        ("=?utf-8?b?w6Q=?=.pdf", "ä.pdf"),
        ("a\u2028\u202eb.pdf", "a b.pdf"),
    ],
)
async def test_names_of_strangers(ledger: Ledger, folder: Path, name: str, expected: str) -> None:
    mail = f'Content-Type: application/pdf\r\nContent-Disposition: attachment; filename="{name}"\r\n\r\nx'
    assert [each.name for each in await documents(ledger, folder, mail.encode())] == [expected]


@pytest.mark.parametrize("written", ["application/\x1b[31mx", "application/\u202e"])
async def test_a_type_that_is_none(ledger: Ledger, folder: Path, written: str) -> None:
    mail = f"Content-Type: {written}\r\nContent-Disposition: attachment\r\n\r\nx".encode()
    [found] = await documents(ledger, folder, mail)
    assert found.content_type == "application/octet-stream"


@pytest.mark.parametrize("number", [MAX_DOCUMENTS, MAX_DOCUMENTS + 1])
async def test_a_mail_of_too_many_documents(ledger: Ledger, folder: Path, number: int) -> None:
    octets = multipart(*(b"Content-Type: application/pdf; name=%d.pdf\r\n\r\n%d" % (n, n) for n in range(number)))
    if number > MAX_DOCUMENTS:
        with pytest.raises(InputError, match=f"save it as a whole. The mail has more than {MAX_DOCUMENTS} documents"):
            await documents(ledger, folder, octets)
    else:
        found = await documents(ledger, folder, octets)
        assert [each.path.read_bytes() for each in found] == [b"%d" % each for each in range(number)]


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (b"X: " + b"a" * 20_000_000 + b"\n\nx", "header has more than"),
        (b"X: a\n" * 20_000 + b"\nx", "too many lines"),
        (multipart(*[b"\r\nx"] * 3_000), "more than 2000 parts"),
        (
            b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(2_000)),
            "more than 50 levels",
        ),
        (b"Content-Type: application/pdf\n\n" + bytes(20_000_000), ""),
    ],
    ids=["header", "lines", "parts", "depth", "large"],
)
async def test_a_hostile_mail_does_no_harm(ledger: Ledger, folder: Path, octets: bytes, says: str) -> None:
    mail = await receive(ledger, octets)
    tracemalloc.start()
    try:
        if says:
            with pytest.raises(InputError, match=f"cannot be taken apart; save it as a whole. The mail.*{says}"):
                await take_documents(ledger, mail, folder)
        else:
            assert len(await take_documents(ledger, mail, folder)) == 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < FLAT


async def test_a_mail_that_takes_too_long(ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_documents, "LIMITS", Limits(seconds=1, memory=4 << 30, parts=10_000_000))
    octets = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 3_000_000 + b"--b--"
    with pytest.raises(InputError, match="It takes too long to open"):
        await documents(ledger, folder, octets)


async def test_a_cancellation_ends_it(ledger: Ledger, folder: Path, tmp_path: Path) -> None:
    mail = await receive(ledger, b"Subject: a\r\n\r\nb\r\n")
    assert mail.path is not None
    # What the confined process opens is a pipe that nobody writes to.
    os.mkfifo(mail.path.with_name("pipe"))
    waiting = replace(mail, path=mail.path.with_name("pipe"))
    async with anyio.create_task_group() as group:
        group.start_soon(take_documents, ledger, waiting, folder)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert await take_documents(ledger, mail, folder) == []


async def test_a_mail_that_is_gone(ledger: Ledger, folder: Path) -> None:
    mail = await receive(ledger, b"Subject: a\r\n\r\nb\r\n")
    await ledger.mark_done(mail.id)
    with pytest.raises(InputError, match="cannot be taken apart"):
        await take_documents(ledger, mail, folder)
    with pytest.raises(InputError, match="not kept any more"):
        await take_documents(ledger, await ledger.mail(mail.id), folder)


def test_many_documents_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def shorten(name: str, mark: str) -> str:
        tried.append(mark)
        return f"{name}{mark}"

    monkeypatch.setattr(filename, "_shorten", shorten)
    assert filename.unique_names(["a"] * 300)[-1] == "a (300)"
    assert len(tried) == 299, "no number is tried twice"
