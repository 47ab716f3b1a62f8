"""A message from a device becomes a job, or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.smtp.server.replies import MAIL_LOOP, SPOOL_FULL, TOO_LARGE
from mailslot.spool.limits import SpoolLimits
from mailslot.spool.spool import Spool
from mailslot_plugins.gateway.duplicates import DuplicateGuard, fingerprint
from mailslot_plugins.gateway.message_writer import MessageWriter, Transaction
from mailslot_plugins.gateway.rewriting import Sender
from mailslot_plugins.gateway.trace_ids import TraceIds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mailslot.wire.reply import Reply

pytestmark = pytest.mark.anyio

NOON = 1_796_000_100.0
TRACE_IDS = TraceIds(b"k" * 32)
TRANSACTION = Transaction(
    device="hall",
    via="smtp",
    envelope_sender="hall@copiers.example",
    upstream_sender="scans@example.com",
    recipients=("bob@example.com",),
    sender=Sender("account", "scans@example.com", "hall"),
    received=lambda identifier: f"from [10.0.3.7] by gateway id {identifier}; Sun, 29 Nov 2026 12:00:00 +0000",
    at=datetime(2026, 11, 29, 12, tzinfo=UTC),
    allows_sender=lambda _: True,
)
HEADER = b"From: hall@copiers.example\r\nTo: bob@example.com\r\nSubject: a scan\r\n"
MESSAGE = HEADER + b"\r\nbody\r\n"


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


class Gateway:
    """Writes messages of devices."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self.spool = spool
        self.clock = clock
        self.guard = DuplicateGuard(clock)
        self.results: list[str | Reply] = []

    def writer(self, transaction: Transaction = TRANSACTION) -> MessageWriter:
        return MessageWriter(transaction, self.spool.acceptance, self.guard, TRACE_IDS, self.results.append)

    async def send(self, *pieces: bytes, transaction: Transaction = TRANSACTION) -> str | Reply:
        writer = self.writer(transaction)
        for piece in pieces:
            await writer.write(piece)
        return await writer.commit()

    async def stored(self, job_id: str | Reply) -> bytes:
        assert isinstance(job_id, str), job_id
        content = self.spool.content(await self.spool.job(int(job_id)))
        return b"".join([piece async for piece in content.chunks()])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
async def gateway(home: Path) -> AsyncIterator[Gateway]:
    clock = Clock()
    async with Spool(home, clock=clock, limits=SpoolLimits(disk_reserve=0, max_message_size=1_000_000)) as spool:
        yield Gateway(spool, clock)


def files(home: Path) -> list[str]:
    return [path.name for path in (home / "spool").iterdir() if path.suffix in {".job", ".new"}]


@pytest.mark.parametrize("size", [10**6, 1, 3])
async def test_a_message_becomes_a_job(gateway: Gateway, size: int) -> None:
    job_id = await gateway.send(*(MESSAGE[start : start + size] for start in range(0, len(MESSAGE), size)))
    job = await gateway.spool.job(int(str(job_id)))
    assert (job.pipeline, job.via, job.sender, job.subject) == ("gateway", "smtp", "scans@example.com", "a scan")
    assert [each.address for each in job.recipients] == ["bob@example.com"]
    assert (job.notes["device"], job.smtputf8, job.eight_bit) == ("hall", False, False)
    parsed = message_from_bytes(await gateway.stored(job_id), policy=policy.default)
    assert parsed["From"] == "hall <scans@example.com>"
    assert parsed["Message-ID"] == job.message_id
    assert parsed.get_payload() == "body\r\n"


@pytest.mark.parametrize(
    ("message", "body"),
    [(HEADER, b""), (b"\r\n", b""), (b"Hello\r\n", b"Hello\r\n"), (b"", b""), (HEADER + b"Hello\r\n", b"Hello\r\n")],
)
async def test_odd_messages(gateway: Gateway, message: bytes, body: bytes) -> None:
    stored = await gateway.stored(await gateway.send(message))
    assert stored.partition(b"\r\n\r\n")[2] == body


async def test_eight_bit_content_is_told(gateway: Gateway) -> None:
    job_id = await gateway.send("Subject: Büro\r\n\r\nHallo Jörg\r\n".encode())
    job = await gateway.spool.job(int(str(job_id)))
    assert (job.eight_bit, job.smtputf8, job.subject) == (True, False, "Büro")


async def test_again_within_ten_minutes_it_is_the_same_job(gateway: Gateway, home: Path) -> None:
    first = await gateway.send(MESSAGE)
    for seconds in (0.0, 300.0, 599.0):
        gateway.clock.now = NOON + seconds
        assert await gateway.send(MESSAGE) == first
    assert len(files(home)) == 1
    gateway.clock.now = NOON + 601
    assert await gateway.send(MESSAGE) != first


@pytest.mark.parametrize("offset", [0.0, 1.0, 299.5, 599.0])
async def test_wherever_the_ten_minutes_begin(gateway: Gateway, offset: float) -> None:
    gateway.clock.now = start = NOON // 600 * 600 + offset
    first = await gateway.send(MESSAGE)
    gateway.clock.now = start + 599.9
    assert await gateway.send(MESSAGE) == first
    gateway.clock.now = start + 1200
    assert await gateway.send(MESSAGE) != first


async def test_after_a_restart_too(gateway: Gateway, home: Path) -> None:
    first = await gateway.send(MESSAGE)
    async with Spool(home, clock=gateway.clock) as spool:
        assert await Gateway(spool, gateway.clock).send(MESSAGE) == first


async def test_in_parallel_it_is_one_job(gateway: Gateway, home: Path) -> None:
    gateway.clock.now = NOON // 600 * 600 + 599.9
    found: list[str | Reply] = []

    async def send() -> None:
        writer = gateway.writer()
        await writer.write(MESSAGE)
        gateway.clock.now += 0.05
        found.append(await writer.commit())

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(send)
    assert len(set(found)) == 1
    assert len(files(home)) == 1
    assert gateway.guard._under_way == {}


@pytest.mark.parametrize(
    "other",
    [
        replace(TRANSACTION, device="attic"),
        replace(TRANSACTION, recipients=("eve@example.com",)),
        replace(TRANSACTION, recipients=("bob@example.com", "eve@example.com")),
        replace(TRANSACTION, envelope_sender=""),
    ],
)
async def test_another_device_or_envelope_is_another_message(gateway: Gateway, other: Transaction) -> None:
    assert await gateway.send(MESSAGE) != await gateway.send(MESSAGE, transaction=other)


def test_parts_of_an_envelope_are_not_confused() -> None:
    assert fingerprint("a", "b", ["c"], b"") != fingerprint("ab", "", ["c"], b"")
    assert fingerprint("a", "b", ["c", "d"], b"") == fingerprint("a", "b", ["d", "c"], b"")


async def test_a_loop(gateway: Gateway, home: Path) -> None:
    sent = await gateway.stored(await gateway.send(MESSAGE))
    assert await gateway.send(sent) == MAIL_LOOP
    assert await gateway.send(b"Received: x\r\n" * 30 + MESSAGE) == MAIL_LOOP
    other = sent.replace(b"X-Mailslot-Gateway: ", b"X-Mailslot-Gateway: 0")
    assert isinstance(await gateway.send(other), str)
    assert len(files(home)) == 2


async def test_what_is_too_large(gateway: Gateway, home: Path) -> None:
    assert await gateway.send(MESSAGE, *[b"x" * 99_998 + b"\r\n"] * 11) == TOO_LARGE
    refused = await gateway.send(b"X: y\r\n" * 60_000, b"\r\n")
    assert str(refused).startswith("552 5.3.4")
    assert files(home) == []


async def test_a_full_spool(home: Path) -> None:
    clock = Clock()
    async with Spool(home, clock=clock, limits=SpoolLimits(disk_reserve=10**18)) as spool:
        assert await Gateway(spool, clock).send(MESSAGE) == SPOOL_FULL
    limits = SpoolLimits(disk_reserve=0, max_total_size=2_000)
    async with Spool(home, clock=clock, limits=limits) as spool:
        # It becomes too large only while it comes.
        assert await Gateway(spool, clock).send(MESSAGE, b"x" * 3_000 + b"\r\n") == SPOOL_FULL
    assert files(home) == []


async def test_a_client_that_goes(gateway: Gateway, home: Path) -> None:
    writer = gateway.writer()
    await writer.write(MESSAGE + b"x" * 500_000)
    assert len(files(home)) == 1
    await writer.discard()
    assert files(home) == []
    writer = gateway.writer()
    await writer.discard()
    assert await gateway.spool.jobs() == []


def test_trace_identifiers() -> None:
    identifier = TRACE_IDS.new()
    assert TRACE_IDS.is_own(identifier)
    assert TRACE_IDS.is_own(f" {identifier} ")
    assert not TraceIds(b"x" * 32).is_own(identifier)
    for other in ("", ".", "x", identifier[:-1], identifier.replace(".", ""), "ü.ü"):
        assert not TRACE_IDS.is_own(other)


async def test_the_trace_key_is_made_once(gateway: Gateway) -> None:
    store = gateway.spool.store("gateway")
    assert (await TraceIds.load(store)).is_own((await TraceIds.load(store)).new())
