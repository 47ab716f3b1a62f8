"""Long messages: progress, early refusals, and streams of the wrong size (ST-10 to ST-12, ST-22)."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import InputError, MailError, NetworkError, RefusedError, ServerError, Submission, connect_smtp
from smtp.servers import SENDER, TO, Server, ServerConnection, Stream, long, serving, unstuffed
from virtual_time import standing_still

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from mailslot import SmtpSession

pytestmark = pytest.mark.virtual_time

CAPABILITIES = ("PIPELINING", "CHUNKING")


def connected(server: Server, **arguments: object) -> AbstractAsyncContextManager[SmtpSession]:
    return connect_smtp(server.endpoint, **{"timeout": 0.2, "final_timeout": 2, **arguments})  # type: ignore[arg-type]  # they are


async def slowly(wire: ServerConnection) -> None:
    """Take what comes at 20 kB a second, for four seconds."""
    for _ in range(80):
        await anyio.sleep(0.05)
        with standing_still():
            wire._heard += await wire.stream.receive(1024)


async def chunks_of(wire: ServerConnection) -> AsyncGenerator[tuple[int, bool]]:
    """Take chunks; give the size of each and whether it was the last."""
    last = False
    while not last:
        _, size, *end = (await wire.line()).split()
        last = end == ["LAST"]
        left = int(size)
        while left:
            octets = await wire.octets(min(left, 65_536))
            wire.received += octets
            left -= len(octets)
        yield int(size), last


@pytest.mark.parametrize("chunking", [False, True])
@pytest.mark.parametrize("size", [16_384, 16_385, 65_536, 65_537, 262_144, 262_145, 3_000_000])
async def test_every_octet_arrives(size: int, chunking: bool) -> None:
    data = (b"." * 997 + b"\r\n") * (size // 999) + b"x" * max(size % 999 - 2, 0) + b"\r\n" * (size % 999 >= 2)

    async def server(wire: ServerConnection) -> None:
        await wire.greet(*CAPABILITIES)
        if chunking:
            await wire.lines(2)
            await wire.say("250 ok", "250 ok")
            async for count, last in chunks_of(wire):
                assert count <= 262_144 or last
                await wire.say("250 ok")
        else:
            await wire.envelope()
            wire.received[:] = unstuffed(await wire.message())
            await wire.say("250 ok")
        await wire.gone()

    async with serving(server) as running, connected(running, chunking=chunking) as smtp:
        await smtp.submit(SENDER, TO, data)
        assert bytes(running.wires[0].received) == data


@pytest.mark.parametrize("reply", ["550 5.7.1 no more", "452 4.3.1 disk full", "421 4.3.2 bye"])
@pytest.mark.parametrize("reads_on", [False, True])
async def test_a_refusal_during_the_content_stops_the_stream(reply: str, reads_on: bool) -> None:
    content = long(50)
    refused_at = 0.0

    async def server(wire: ServerConnection) -> None:
        nonlocal refused_at
        await wire.greet(*CAPABILITIES)
        await wire.envelope()
        for _ in range(16):
            await wire.octets()
        refused_at = anyio.current_time()
        await wire.say(reply)
        if reads_on:
            wire.received += await wire.gone()
        else:
            await anyio.sleep(3)

    async with serving(server) as running, connected(running, timeout=5) as smtp:
        with pytest.raises(RefusedError) as caught:
            await smtp.submit(SENDER, TO, content)
        assert anyio.current_time() - refused_at < 1
        assert str(caught.value.reply).startswith(reply[:3])
        assert caught.value.stage == "data"
        assert not caught.value.in_doubt
        assert not smtp.usable
        await anyio.sleep(0.05)
        assert len(running.wires[0].received) < 30_000_000
    assert content.closed == 1


async def test_a_refusal_outranks_the_broken_pipe_after_it() -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.greet(*CAPABILITIES)
        await wire.envelope()
        await wire.octets()
        await wire.say("554 5.7.1 no")

    async with serving(server) as running, connected(running, timeout=2) as smtp:
        with pytest.raises((RefusedError, NetworkError)) as caught:
            await smtp.submit(SENDER, TO, long(20))
        # Where the reset overtook the refusal, nobody can know it; a loss it is then, and no doubt.
        assert not caught.value.in_doubt


@pytest.mark.parametrize("chunking", [False, True])
async def test_a_server_that_stops_reading_times_out(chunking: bool) -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.greet(*CAPABILITIES)
        if chunking:
            await wire.lines(2)
            await wire.say("250 ok", "250 ok")
        else:
            await wire.envelope()
        await anyio.sleep(10)

    async with serving(server) as running, connected(running, chunking=chunking) as smtp:
        began = anyio.current_time()
        with pytest.raises(NetworkError) as caught:
            await smtp.submit(SENDER, TO, long(50))
        # Later than that where the system still took some of it.
        assert 0.19 < anyio.current_time() - began < 3
        assert (caught.value.cause, caught.value.waited) == ("connection_lost", 0.2)
        assert caught.value.retryable
        assert not caught.value.in_doubt
        assert not smtp.usable


@pytest.mark.parametrize("chunking", [False, True])
async def test_a_slow_but_steady_reader_is_served(chunking: bool) -> None:
    content = long(10)

    async def server(wire: ServerConnection) -> None:
        await wire.greet(*CAPABILITIES)
        if chunking:
            await wire.lines(2)
            await wire.say("250 ok", "250 ok")
        else:
            await wire.envelope()
        # Nothing comes of a whole piece for longer than the timeout, and yet it moves.
        await slowly(wire)
        with standing_still():
            if chunking:
                async for _ in chunks_of(wire):
                    await wire.say("250 ok")
            else:
                await wire.message()
                await wire.say("250 ok")
        await wire.gone()

    async with (
        serving(server, receive_buffer=4096) as running,
        connected(running, chunking=chunking, timeout=1.5, final_timeout=30) as smtp,
    ):
        began = anyio.current_time()
        assert (await smtp.submit(SENDER, TO, content)).reply.code == 250
        # Much longer than the timeout.
        assert anyio.current_time() - began > 3.9


async def test_the_final_reply_has_a_longer_timeout() -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.greet(*CAPABILITIES)
        await wire.envelope()
        await wire.message()
        await anyio.sleep(0.4)
        await wire.say("250 ok")
        await wire.gone()

    async with serving(server) as running, connected(running) as smtp:
        assert (await smtp.submit(SENDER, TO, long(1))).reply.code == 250


@pytest.mark.parametrize("answer", ["", "2", "25", "250", "250 2.0.0 Ok", "250-2.0.0 Ok\r\n", "nonsense\r\n"])
@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("size", [0.001, 1])
async def test_a_missing_final_reply_is_in_doubt(answer: str, ending: str, size: float) -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.greet(*CAPABILITIES)
        await wire.envelope()
        await wire.message()
        await wire.stream.send(answer.encode())
        if ending == "reset":
            await wire.reset()

    async with serving(server) as running, connected(running) as smtp:
        with pytest.raises(MailError) as caught:
            await smtp.submit(SENDER, TO, long(size))
        assert caught.value.in_doubt
        assert caught.value.cause == "in_doubt"
        assert caught.value.stage == "data"
        assert isinstance(caught.value, ServerError if "\n" in answer and "250" not in answer else MailError)


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("chunking", [False, True])
async def test_a_connection_lost_before_the_end_is_not_in_doubt(ending: str, chunking: bool) -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.greet(*CAPABILITIES)
        if chunking:
            await wire.lines(2)
            await wire.say("250 ok", "250 ok")
        else:
            await wire.envelope()
        for _ in range(4):
            await wire.octets()
        if ending == "reset":
            await wire.reset()

    async with serving(server) as running, connected(running, chunking=chunking, timeout=2) as smtp:
        with pytest.raises(NetworkError) as caught:
            await smtp.submit(SENDER, TO, long(50))
        assert caught.value.cause == "connection_lost"
        assert not caught.value.in_doubt
        assert caught.value.retryable


@pytest.mark.parametrize("chunking", [False, True])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda full: Stream(*full._pieces, size=full.size + 2), "not the one that was announced"),
        (lambda full: Stream(*full._pieces, size=full.size - 2), "not the one that was announced"),
        (lambda full: Stream(*full._pieces, OSError("disk")), "cannot be read"),
        (lambda full: Stream(*full._pieces, EOFError("short")), "cannot be read"),
        (lambda full: Stream(*full._pieces, ValueError("bad")), "cannot be read"),
        (lambda full: Stream(*full._pieces, InputError("gone", stage="data")), "gone"),
    ],
)
async def test_a_stream_of_the_wrong_size_is_never_completed(
    make: Callable[[Stream], Stream], why: str, chunking: bool
) -> None:
    content = make(long(1))
    heard = anyio.Event()

    async def server(wire: ServerConnection) -> None:
        await wire.greet(*CAPABILITIES)
        if chunking:
            await wire.lines(2)
            await wire.say("250 ok", "250 ok")
        else:
            await wire.envelope()
        wire.received += await wire.gone()
        heard.set()

    async with serving(server) as running, connected(running, chunking=chunking) as smtp:
        with pytest.raises(InputError, match=why) as caught:
            await smtp.submit(SENDER, TO, content)
        assert caught.value.stage == "data"
        assert not caught.value.in_doubt
        assert not caught.value.retryable
        assert not smtp.usable
        with anyio.fail_after(60):
            await heard.wait()
        received = bytes(running.wires[0].received)
    assert len(received) > 500_000 or chunking
    assert b"\r\n.\r\n" not in received
    assert b"LAST" not in received
    assert content.closed == 1


async def test_a_refused_chunk_ends_the_session() -> None:
    """Between chunks of an upload nobody knows how much of the next one is out: RSET could fall into it."""

    async def server(wire: ServerConnection) -> None:
        await wire.greet(*CAPABILITIES)
        await wire.lines(2)
        await wire.say("250 ok", "250 ok")
        async with aclosing(chunks_of(wire)) as chunks:
            await anext(chunks)
            await anext(chunks)
        await wire.say("250 ok", "552 5.3.4 too large")
        wire.received[:] = await wire.gone()

    async with serving(server) as running, connected(running, chunking=True, timeout=2) as smtp:
        with pytest.raises(RefusedError) as caught:
            await smtp.submit(SENDER, TO, long(20))
        assert caught.value.cause == "message_too_large"
        assert not caught.value.in_doubt
        assert not smtp.usable
        await anyio.sleep(0.05)
        assert b"LAST" not in running.wires[0].received
        assert b"RSET" not in running.wires[0].received


@pytest.mark.parametrize("refused", [1, 2, 3])
async def test_late_replies_to_chunks_are_matched_correctly(refused: int) -> None:
    """All chunks are out before the first is refused; the answers to the others must not meet the next message."""

    async def server(wire: ServerConnection) -> None:
        await wire.greet(*CAPABILITIES)
        await wire.lines(2)
        await wire.say("250 ok", "250 ok")
        count = 0
        async for _ in chunks_of(wire):
            count += 1
        assert count == 3
        await wire.say(*("552 no" if number >= refused else "250 ok" for number in range(1, 4)))
        if await wire.line() == "RSET":
            await wire.say("250 ok")
            await wire.lines(2)
            await wire.say("250 ok", "250 ok")
            async for _ in chunks_of(wire):
                await wire.say("250 ok")
            await wire.gone()

    async with serving(server) as running, connected(running, chunking=True, timeout=2) as smtp:
        with pytest.raises(RefusedError) as caught:
            await smtp.submit(SENDER, TO, long(0.7))
        assert caught.value.cause == "message_too_large"
        if smtp.usable:
            await smtp.submit(SENDER, TO, b"Subject: x\r\n\r\n")


async def test_a_reply_to_the_message_before_the_next_command_is_sent() -> None:
    """The envelope of the next message is still on its way when the server takes this one; it must get there whole."""
    recipients = ["x" * 60 + f"{number}@" + "y" * 60 + ".example" for number in range(100)]
    stored = 0

    async def server(wire: ServerConnection) -> None:
        nonlocal stored
        await wire.greet("PIPELINING")
        await wire.envelope(100)
        for behind in (True, False):
            message = bytearray()
            while b"\r\n.\r\n" not in message:
                with standing_still():
                    message += await wire.octets(2048)
            wire._heard[:0] = message[message.index(b"\r\n.\r\n") + 5 :]
            stored += 1
            await wire.say("250 ok")
            if behind:
                await anyio.sleep(0.05)
                await wire.envelope(100)
        await wire.gone()

    async with serving(server, receive_buffer=2048) as running, connected(running, timeout=2) as smtp:
        submissions = [Submission(SENDER, recipients, long(0.1)) for _ in range(2)]
        results = await smtp.submit_many(submissions)
    assert [type(result).__name__ for result in results] == ["Receipt", "Receipt"]
    assert stored == 2
