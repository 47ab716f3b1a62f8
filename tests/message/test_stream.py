from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import ClassVar

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailslot.errors import InputError
from mailslot.message import Attachment, Mailbox, Message
from message.readers import octets, parsed

BLOCK = 57 * 512
PIECE = 18 * BLOCK

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def mail(*attachments: Attachment, text: str = "Hi\n", **fields) -> Message:
    return Message(sender="a@example.com", to=["b@example.com"], text=text, attachments=attachments, **fields)


def open_files(path) -> int:
    # The folder's own descriptor is gone once it has been read.
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(link.readlink() == path for link in links)


@given(
    sizes=st.lists(
        st.integers(1, 10_000) | st.sampled_from([BLOCK, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 58]),
        max_size=5,
    ),
    from_files=st.booleans(),
    text=st.sampled_from(["", "Hi", "Grüße\n", "x" * 100_000]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_announced_size_equals_the_octets(tmp_path, sizes, from_files, text):
    contents = [os.urandom(size) for size in sizes]
    attachments = [Attachment.from_bytes(c, f"{n}.bin") for n, c in enumerate(contents)]
    if from_files:
        for n, content in enumerate(contents):
            (tmp_path / f"{n}.bin").write_bytes(content)
        attachments = [Attachment.from_path(tmp_path / f"{n}.bin") for n in range(len(sizes))]
    message = mail(*attachments, text=text)
    data = await octets(message)
    assert await octets(message) == data

    received = text and text.rstrip("\n") + "\n"
    read = message_from_bytes(data, policy=policy.default)
    assert not read.defects
    if not contents:
        assert read.get_content_type() == "text/plain"
        assert read.get_content().replace("\r\n", "\n") == received
        return
    assert read.get_content_type() == "multipart/mixed"
    parts = list(read.iter_parts())
    if text:
        assert parts.pop(0).get_content().replace("\r\n", "\n") == received
    assert [part.get_content() for part in parts] == contents
    assert [part.get_filename() for part in parts] == [f"{n}.bin" for n in range(len(sizes))]


def octets_read() -> int:
    """How many octets this process has read so far."""
    return int(re.search(r"^rchar: ([0-9]+)", Path("/proc/self/io").read_text(), re.MULTILINE)[1])


async def test_a_short_message_without_files_is_whole(tmp_path):
    for message in (mail(), mail(text="Grüße\n.\n"), mail(Attachment.from_bytes(b"x" * 9_000, "a.bin"))):
        assert message.whole is not None
        assert message.whole.lines == await octets(message)
        assert message.whole.size == message.size
    (tmp_path / "a.bin").write_bytes(b"x")
    long = Attachment.from_bytes(b"x" * 20_000, "a.bin")
    assert [mail(each).whole for each in (long, Attachment.from_path(tmp_path / "a.bin"))] == [None, None]


@linux
@pytest.mark.parametrize("gigabytes", [1, 5, 40])
def test_the_size_of_a_huge_file_is_known_without_reading_it(tmp_path, gigabytes):
    path = tmp_path / "huge.tif"
    path.touch()
    size = gigabytes * 2**30 + 17
    os.truncate(path, size)
    before = octets_read()
    message = mail(Attachment.from_path(path))
    assert octets_read() - before < 1_000_000
    small = mail(Attachment.from_bytes(b"abc", "huge.tif"), message_id=message.message_id)
    encoded = 4 * -(-size // 3)
    assert message.size == small.size - 6 + encoded + 2 * -(-encoded // 76)


async def test_golden_octets():
    message = Message(
        sender=Mailbox("scanner@example.com", "Third floor"),
        to=[Mailbox("jane@example.com", "Doe, Jane"), "archive@bücher.example"],
        reply_to=Mailbox("user@example.com", "Jörg"),
        subject="Scan für Köln",
        text="Two pages – see attachment.",
        attachments=[
            Attachment.from_bytes(b"%PDF-1.7\n" * 10, "scan.pdf", "application/pdf"),
            Attachment.from_bytes(b"II*\0", "Größe.tif", "image/tiff"),
        ],
        date=datetime(2026, 3, 1, 9, 5, 7, tzinfo=UTC),
        message_id="<0123456789abcdef0123456789abcdef@example.com>",
        boundary="=_0123456789abcdef0123456789abcdef",
        auto_submitted="auto-generated",
    )
    golden = (
        "From: Third floor <scanner@example.com>\n"
        "Reply-To: =?utf-8?B?SsO2cmc=?= <user@example.com>\n"
        'To: "Doe, Jane" <jane@example.com>, archive@xn--bcher-kva.example\n'
        "Subject: =?utf-8?B?U2NhbiBmw7xyIEvDtmxu?=\n"
        "Date: Sun, 01 Mar 2026 09:05:07 +0000\n"
        "Message-ID: <0123456789abcdef0123456789abcdef@example.com>\n"
        "Auto-Submitted: auto-generated\n"
        "MIME-Version: 1.0\n"
        'Content-Type: multipart/mixed; boundary="=_0123456789abcdef0123456789abcdef"\n'
        "\n"
        "--=_0123456789abcdef0123456789abcdef\n"
        'Content-Type: text/plain; charset="utf-8"\n'
        "Content-Transfer-Encoding: quoted-printable\n"
        "\n"
        "Two pages =E2=80=93 see attachment.\n"
        "\n"
        "--=_0123456789abcdef0123456789abcdef\n"
        "Content-Type: application/pdf\n"
        'Content-Disposition: attachment; filename="scan.pdf"\n'
        "Content-Transfer-Encoding: base64\n"
        "\n"
        "JVBERi0xLjcKJVBERi0xLjcKJVBERi0xLjcKJVBERi0xLjcKJVBERi0xLjcKJVBERi0xLjcKJVBE\n"
        "Ri0xLjcKJVBERi0xLjcKJVBERi0xLjcKJVBERi0xLjcK\n"
        "--=_0123456789abcdef0123456789abcdef\n"
        "Content-Type: image/tiff\n"
        "Content-Disposition: attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe.tif\n"
        "Content-Transfer-Encoding: base64\n"
        "\n"
        "SUkqAA==\n"
        "--=_0123456789abcdef0123456789abcdef--\n"
    )
    assert await octets(message) == golden.replace("\n", "\r\n").encode()


async def test_boundaries_are_random_and_occur_in_no_part(tmp_path):
    boundaries = set()
    for _ in range(50):
        message = mail(Attachment.from_bytes(os.urandom(3000), "a.bin"), text="=_ -- ü" * 50)
        data = await octets(message)
        boundary = message_from_bytes(data).get_boundary()
        assert len(boundary) == 34
        assert boundary.startswith("=_")
        assert data.count(boundary.encode()) == 4
        boundaries.add(boundary)
    assert len(boundaries) == 50


@pytest.mark.parametrize(
    "boundary", ["", "=_short", "=_" + "a" * 90, '=_0123456789abcdef"', "=_0123456789abcdef\r\n", "=_ä" * 9]
)
def test_boundaries_that_could_end_a_line_or_occur_are_refused(boundary):
    with pytest.raises(InputError, match="boundary"):
        mail(Attachment.from_bytes(b"x", "a"), boundary=boundary)


def test_a_boundary_that_occurs_in_the_text_is_refused():
    boundary = "=_0123456789abcdef"
    with pytest.raises(InputError, match="boundary"):
        mail(Attachment.from_bytes(b"x", "a"), text=f"--{boundary}\n", boundary=boundary)


@linux
async def test_files_are_closed_before_the_last_piece_comes(tmp_path):
    path = tmp_path / "scan.bin"
    path.write_bytes(bytes(PIECE * 3))
    chunks = mail(Attachment.from_path(path)).chunks()
    assert [open_files(path) async for _ in chunks] == [1, 1, 1, 0]


@linux
async def test_an_abandoned_message_closes_its_files(tmp_path):
    path = tmp_path / "scan.bin"
    path.write_bytes(bytes(PIECE * 3))
    message = mail(Attachment.from_path(path))

    async with aclosing(message.chunks()) as chunks:
        await anext(chunks)
        assert open_files(path) == 1
    assert open_files(path) == 0

    chunks = message.chunks()
    await anext(chunks)
    # The error that is kept keeps the generator's variables too.
    with pytest.raises(ZeroDivisionError):
        await chunks.athrow(kept := ZeroDivisionError())
    assert kept.__traceback__ is not None
    assert open_files(path) == 0


@linux
async def test_an_error_closes_the_files_of_the_others(tmp_path):
    path, gone = tmp_path / "scan.bin", tmp_path / "gone.bin"
    path.write_bytes(bytes(PIECE * 3))
    gone.write_bytes(bytes(10))
    message = mail(Attachment.from_path(path), Attachment.from_path(gone))
    gone.unlink()
    with pytest.raises(InputError):
        await anext(message.chunks())
    assert open_files(path) == 0


@linux
@pytest.mark.parametrize("delay", [0, 0.001, 0.01, 0.03])
async def test_cancellation_closes_the_files(tmp_path, delay):
    path = tmp_path / "scan.bin"
    path.touch()
    os.truncate(path, 500_000_000)
    message = mail(Attachment.from_path(path))
    with anyio.move_on_after(delay) as scope:
        async for _ in message.chunks():
            pass
    assert scope.cancelled_caught
    assert open_files(path) == 0
    with anyio.move_on_after(delay) as scope:
        async with aclosing(message.chunks()) as chunks:
            async for _ in chunks:
                await anyio.sleep(delay)
    assert scope.cancelled_caught
    assert open_files(path) == 0


@linux
async def test_two_readers_are_independent(tmp_path):
    path = tmp_path / "scan.bin"
    path.write_bytes(os.urandom(PIECE * 3 + 5))
    message = mail(Attachment.from_path(path))
    seen: list[bytes] = []

    async def read() -> None:
        seen.append(await octets(message))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(read)
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert open_files(path) == 0


async def test_all_lines_end_with_crlf(tmp_path):
    path = tmp_path / "scan.bin"
    path.write_bytes(os.urandom(PIECE + 100))
    data = await octets(mail(Attachment.from_path(path), text="a\nb\rc\r\nd"))
    assert data.endswith(b"\r\n")
    assert data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r")
    assert data.isascii()
    assert max(map(len, data.split(b"\r\n"))) <= 76


async def test_the_text_precedes_the_attachments():
    read = await parsed(mail(Attachment.from_bytes(b"x", "a.bin"), text="Hello\n"))
    assert [part.get_content_type() for part in read.iter_parts()] == [
        "text/plain",
        "application/octet-stream",
    ]
    assert read.get_body().get_content() == "Hello\r\n"


class Watched(Attachment):
    """Notes in which threads it is opened, read and closed."""

    __slots__ = ()
    threads: ClassVar[list[int]] = []

    @contextmanager
    def open(self):
        self.threads.append(threading.get_ident())
        with super().open() as opened:
            yield opened
        self.threads.append(threading.get_ident())

    def encode(self, opened):
        for piece in super().encode(opened):
            self.threads.append(threading.get_ident())
            yield piece


@pytest.mark.parametrize("size", [10, PIECE * 2])
async def test_files_are_not_touched_in_the_event_loop(tmp_path, size):
    path = tmp_path / "scan.bin"
    path.write_bytes(bytes(size))
    Watched.threads.clear()
    await octets(mail(Watched.from_path(path)))
    assert len(Watched.threads) >= 3
    assert threading.get_ident() not in Watched.threads


async def test_streaming_does_not_block_the_event_loop(tmp_path):
    path = tmp_path / "scan.bin"
    path.write_bytes(os.urandom(20_000_000))
    message = mail(Attachment.from_path(path))

    async def longest_pause() -> float:
        longest = 0.0

        async def watch() -> None:
            nonlocal longest
            while True:
                # Of this thread's own work, since the machine has other work, too.
                start = time.thread_time()
                await anyio.lowlevel.checkpoint()
                longest = max(longest, time.thread_time() - start)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            received = 0
            async for chunk in message.chunks():
                received += len(chunk)
            tasks.cancel_scope.cancel()
        assert received == message.size
        return longest

    # The best of some runs: the machine may pause us, but not each time.
    assert min([await longest_pause() for _ in range(4)]) < 0.02


MEASURE = """
import os, sys
import anyio
from mailslot.message import Attachment, Message

def peak():
    with open("/proc/self/status") as status:
        (line,) = (line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000

async def stream(size):
    os.truncate(path, size)
    message = Message(
        sender="a@example.com", to=["b@example.com"], attachments=[Attachment.from_path(path)]
    )
    received = 0
    async for chunk in message.chunks():
        received += len(chunk)
    assert received == message.size > size

backend, path = sys.argv[1:]
open(path, "wb").close()
anyio.run(stream, 100, backend=backend)
before = peak()
anyio.run(stream, 100_000_000, backend=backend)
print(peak() - before)
"""


@linux
def test_memory_does_not_grow_with_the_file(tmp_path, anyio_backend_name):
    command = [sys.executable, "-c", MEASURE, anyio_backend_name, str(tmp_path / "sparse.bin")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 10
