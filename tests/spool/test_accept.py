"""Accepted means on the disk, whole, once."""

from __future__ import annotations

import json
import os
from contextlib import aclosing
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import InputError
from mailslot.message.attachment import Attachment
from mailslot.message.message import Message
from mailslot.smtp.content import BytesContent, to_content
from mailslot.spool.spool import Spool
from spool.conftest import MESSAGE, NOON, Clock, files, message, new, octets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Stream:
    """A message that says one size and gives pieces."""

    eight_bit = False
    smtputf8 = False

    def __init__(self, size: int, *pieces: object) -> None:
        self.size = size
        self.pieces = pieces

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, BaseException):
                raise piece
            yield piece


async def test_a_job_is_accepted(spool: Spool, home: Path) -> None:
    job = await spool.accept(
        new("a@example.com", "b@example.com", "a@example.com", subject="Scan", lifetime=60.0, notes={"file": "x.pdf"}),
        message(),
    )
    assert (job.id, job.pipeline, job.via, job.state, job.subject) == (1, "scan", "smtp", "queued", "Scan")
    assert [(r.address, r.state) for r in job.recipients] == [
        ("a@example.com", "waiting"),
        ("b@example.com", "waiting"),
    ]
    assert (job.created_at, job.changed_at, job.expires_at) == (NOON, NOON, NOON + 60)
    assert (job.attempts, job.doubts, job.cause, job.notes) == (0, 0, None, {"file": "x.pdf"})
    assert await octets(spool.content(job)) == MESSAGE
    assert spool.content(job).size == job.size == len(MESSAGE)
    assert await spool.job(1) == job
    if isinstance(home, Path):
        assert (home / "spool").stat().st_mode & 0o777 == 0o700
        assert all(path.stat().st_mode & 0o077 == 0 for path in (home / "spool").iterdir())


async def test_the_message_is_frozen(spool: Spool, tmp_path: Path) -> None:
    page = tmp_path / "page.pdf"
    page.write_bytes(os.urandom(3_000_000))
    original = Message(
        sender="s@example.com", to=["t@example.com"], subject="x", attachments=[Attachment.from_path(page)]
    )
    expected = await octets(original)
    job = await spool.accept(new(), original)
    page.unlink()
    assert job.message_id == original.message_id
    assert await octets(spool.content(job)) == expected
    assert await octets(spool.content(job)) == expected


@pytest.mark.parametrize("text", [b"Subject: x\n\nbare\n.\n", b"Subject: x\r\rold", b"", b"Bcc: y\n\nx"])
async def test_line_ends_become_crlf(spool: Spool, text: bytes) -> None:
    job = await spool.accept(new(), BytesContent(text))
    kept = await octets(spool.content(job))
    assert kept.replace(b"\r\n", b"").count(b"\n") == kept.replace(b"\r\n", b"").count(b"\r") == 0
    assert not kept or kept.endswith(b"\r\n")
    assert b"Bcc" not in kept
    assert job.size == len(kept)


async def test_required_extensions_are_stored(spool: Spool) -> None:
    original = EmailMessage()
    original["From"] = "jörg@example.com"
    original.set_content("ä")
    content = to_content(original)
    job = await spool.accept(new(), content)
    assert (job.eight_bit, job.smtputf8) == (content.eight_bit, content.smtputf8) == (True, True)
    assert spool.content(job).smtputf8


async def test_a_repeated_key_is_the_same_job(spool: Spool, home: Path) -> None:
    first = await spool.accept(new(key="page-1"), message())
    second = await spool.accept(new("other@example.com", key="page-1"), message(b"other\r\n"))
    assert second == first
    assert len(files(home)) == 1
    assert (await spool.accept(new(key="page-1", pipeline="fax"), message())).id != first.id
    await spool.cancel(first.id)
    assert (await spool.accept(new(key="page-1"), message())).state == "cancelled"


async def test_the_same_key_concurrently(spool: Spool, home: Path, clock: Clock) -> None:
    found: list[int] = []
    async with Spool(home, clock=clock) as other, anyio.create_task_group() as group:

        async def accept(through: Spool) -> None:
            found.append((await through.accept(new(key="k"), message(MESSAGE * 100))).id)

        for _ in range(10):
            group.start_soon(accept, spool)
            group.start_soon(accept, other)
    assert found == [1] * 20
    assert len(files(home)) == 1


@pytest.mark.parametrize(
    ("stream", "sentence"),
    [
        (Stream(10, b"Subject: x\r\n\r\n"), "another size"),
        (Stream(1000, b"Subject: x\r\n\r\n"), "another size"),
        (Stream(10, b"x" * 4_000_000), "cannot be read"),
        (Stream(10, OSError("gone")), "cannot be read"),
        (Stream(10, "text"), "cannot be read"),
    ],
)
async def test_a_message_of_the_wrong_size(spool: Spool, home: Path, stream: Stream, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        await spool.accept(new(), stream)
    assert await spool.jobs() == []
    assert files(home) == []


@pytest.mark.parametrize(
    "job",
    [
        new("a@example.com\r\nRCPT TO:<b@example.com>"),
        new("a" * 2000),
        new(*[f"{n}@example.com" for n in range(1001)]),
        new(lifetime=0.0),
        new(lifetime=float("nan")),
        new(message_id="<x\n>"),
        new(key="\udc80"),
        new(notes={"a": "b" * 5_000_000}),
    ],
)
async def test_invalid_jobs(spool: Spool, home: Path, job: object) -> None:
    with pytest.raises(InputError) as caught:
        await spool.accept(job, message())
    assert caught.value.stage == "spool"
    assert files(home) == []


async def test_lone_surrogates_are_replaced(spool: Spool) -> None:
    """As in a file name that is no UTF-8."""
    job = await spool.accept(new(subject="page-\udcff.pdf", notes={"file": "page-\udcff.pdf"}), message())
    assert (job.subject, job.notes) == ("page-?.pdf", {"file": "page-\udcff.pdf"})
    for name in ("\udcff", "\0", "\\u0000", "\N{PRINTER}"):
        notes = {"file": name, "device": "hall \N{PRINTER}"}
        noted = await spool.accept(new(notes=notes), message())
        assert (await spool.job(noted.id)).notes == notes
    assert [each[:3] for each in await spool.count_by_device()] == [("hall \N{PRINTER}", "queued", 4)]
    assert (await spool.fail(job.id, "content_refused", "No \udcff.", "550 \udcff")).reply
    assert (await spool.job(job.id)).sentence == "No ?."


async def test_what_is_returned_is_what_is_stored(spool: Spool, clock: Clock) -> None:
    notes = {"device": "hall", "\ud800": "\0"}
    job = await spool.accept(
        new("a@example.com", "b@example.com", key="k", notes=notes, send_at=clock.now + 60), message()
    )
    assert (job.state, job.next_attempt, job.notes) == ("deferred", clock.now + 60, notes)
    assert job == await spool.job(job.id)


async def test_no_recipient(spool: Spool) -> None:
    for recipients in ((), "to@example.com"):
        with pytest.raises(InputError, match="no recipient"):
            await spool.accept(type(new())("scan", "smtp", "", recipients), message())


async def test_acceptance_aborted_while_reading(spool: Spool, home: Path) -> None:
    class Endless(Stream):
        async def chunks(self) -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * 2_000_000
            reading.set()
            await anyio.sleep_forever()

    reading = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(spool.accept, new(), Endless(10_000_000))
        await reading.wait()
        assert len(files(home, ".new")) == isinstance(home, Path)
        group.cancel_scope.cancel()
    assert files(home) == []
    assert await spool.jobs() == []


async def test_sending_aborted_closes_the_file(spool: Spool) -> None:
    job = await spool.accept(new(), message(b"x" * 70 + b"\r\n"))
    async with aclosing(spool.content(job).chunks()) as pieces:
        async for _ in pieces:
            break


@pytest.mark.in_a_folder
async def test_a_truncated_message_file(spool: Spool, home: Path) -> None:
    job = await spool.accept(new(), message())
    path = home / "spool" / files(home)[0]
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(Exception, match="damaged: its end is missing") as caught:
        await octets(spool.content(job))
    assert caught.value.cause == "spool_unreadable"
    path.unlink()
    with pytest.raises(Exception, match="cannot be read") as caught:
        await octets(spool.content(job))
    assert caught.value.cause == "spool_unreadable"


@pytest.mark.in_a_folder
async def test_the_file_contains_its_envelope(spool: Spool, home: Path) -> None:
    await spool.accept(new("jörg@example.com", subject="Grüße", key="k"), message())
    line, rest = (home / "spool" / files(home)[0]).read_bytes().split(b"\n", 1)
    assert rest == MESSAGE
    assert json.loads(line)["recipients"] == ["jörg@example.com"]
